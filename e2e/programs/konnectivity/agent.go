package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"sigs.k8s.io/apiserver-network-proxy/konnectivity-client/proto/client"
)

// How long the agent waits between two tries to connect: longer each time, but not longer than the last.
const (
	firstPause   = time.Second
	longestPause = 10 * time.Second
)

// How long a server may take to let the agent in.
const longestGreeting = 20 * time.Second

type agentOptions struct {
	authority           string
	host                string
	port                int
	adminPort           int
	healthPort          int
	token               string
	id, identifiers     string
	keepalive           time.Duration
	pause, longestPause time.Duration
}

func readAgentOptions(arguments []string) (*agentOptions, error) {
	options := &agentOptions{id: os.Getenv("PROXY_AGENT_ID")}
	if options.id == "" {
		options.id = newID()
	}
	flags := flag.NewFlagSet("proxy-agent", flag.ContinueOnError)
	flags.StringVar(&options.authority, "ca-cert", "", "who must have signed the server's certificate")
	flags.StringVar(&options.host, "proxy-server-host", "127.0.0.1", "the server")
	flags.IntVar(&options.port, "proxy-server-port", 8091, "its port")
	flags.IntVar(&options.adminPort, "admin-server-port", 8094, "for people, on this host only")
	flags.IntVar(&options.healthPort, "health-server-port", 8093, "for kubelet")
	flags.StringVar(&options.token, "service-account-token-path", "", "the token, read anew for each connection")
	flags.StringVar(&options.id, "agent-id", options.id, "our name")
	flags.StringVar(&options.identifiers, "agent-identifiers", "", "what the server may choose agents by")
	flags.DurationVar(&options.keepalive, "keepalive-time", time.Hour, "after how long a silent server is asked")
	flags.DurationVar(&options.pause, "sync-interval", firstPause, "how long to wait between two tries")
	flags.DurationVar(&options.longestPause, "sync-interval-cap", longestPause, "how long to wait at most")
	if err := parse(flags, arguments); err != nil {
		return nil, err
	}
	if options.authority == "" || options.token == "" {
		return nil, errors.New("--ca-cert and --service-account-token-path are needed")
	}
	return options, nil
}

// startAgent returns when everything listens; it connects in the background.
func startAgent(arguments []string) error {
	options, err := readAgentOptions(arguments)
	if err != nil {
		return err
	}
	outpost, err := newOutpost(options)
	if err != nil {
		return err
	}
	if err := listenHTTP("127.0.0.1", options.adminPort, http.NotFoundHandler()); err != nil {
		return err
	}
	if err := startHealth("", options.healthPort, outpost.isConnected); err != nil {
		return err
	}
	go outpost.keepConnected(context.Background())
	return nil
}

// An outpost is connected to every server that there is: behind one address there may be several.
type outpost struct {
	options     *agentOptions
	target      string
	credentials credentials.TransportCredentials

	mutex   sync.Mutex
	servers map[string]bool
	wanted  int
}

func newOutpost(options *agentOptions) (*outpost, error) {
	content, err := os.ReadFile(options.authority)
	if err != nil {
		return nil, err
	}
	authorities := x509.NewCertPool()
	if !authorities.AppendCertsFromPEM(content) {
		return nil, fmt.Errorf("%s holds no certificate", options.authority)
	}
	return &outpost{
		options:     options,
		target:      "passthrough:///" + net.JoinHostPort(options.host, strconv.Itoa(options.port)),
		credentials: credentials.NewTLS(&tls.Config{RootCAs: authorities, MinVersion: tls.VersionTLS12}),
		servers:     make(map[string]bool),
		wanted:      1,
	}, nil
}

// keepConnected connects until there is a connection to each server, and again whenever one is lost.
func (o *outpost) keepConnected(ctx context.Context) {
	pause := o.options.pause
	for ctx.Err() == nil {
		err := o.connectIfWanted(ctx)
		if err != nil {
			log.Printf("not connected to %s: %v", o.target, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		if err == nil {
			pause = o.options.pause
		} else {
			pause = min(pause*3/2, o.options.longestPause)
		}
	}
}

func (o *outpost) isConnected() bool {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	return len(o.servers) > 0
}

func (o *outpost) isComplete() bool {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	return len(o.servers) >= o.wanted
}

func (o *outpost) connectIfWanted(ctx context.Context) error {
	if o.isComplete() {
		return nil
	}
	token, err := os.ReadFile(o.options.token)
	if err != nil {
		return err
	}
	connection, err := grpc.NewClient(
		o.target,
		grpc.WithTransportCredentials(o.credentials),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: o.options.keepalive, PermitWithoutStream: true}),
		grpc.WithNoProxy(),
	)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(
		ctx,
		agentIDKey, o.options.id,
		agentIdentifiersKey, o.options.identifiers,
		authorizationKey, bearer+strings.TrimSpace(string(token)),
	))
	end := func() {
		cancel()
		_ = connection.Close()
	}
	greeting := time.AfterFunc(longestGreeting, cancel)
	stream, err := connection.NewStream(ctx, &connectStream, "/"+agentServiceName+"/"+connectName)
	if err != nil {
		end()
		return err
	}
	server, count, err := greetingOf(stream)
	greeting.Stop()
	if err != nil {
		end()
		return err
	}
	o.mutex.Lock()
	isDuplicate := o.servers[server]
	o.servers[server] = true
	o.wanted = count
	o.mutex.Unlock()
	if isDuplicate {
		// The address led to a server that we know already; the next try may lead to another.
		end()
		return nil
	}
	log.Printf("connected to the server %s, one of %d", server, count)
	go func() {
		err := newSession(stream).run()
		log.Printf("the server %s is lost: %v", server, err)
		o.mutex.Lock()
		delete(o.servers, server)
		o.mutex.Unlock()
		end()
	}()
	return nil
}

// greetingOf waits for what a server says first: its id, and how many servers there are.
func greetingOf(stream grpc.ClientStream) (string, int, error) {
	told, err := stream.Header()
	if err != nil {
		return "", 0, err
	}
	id, count := told.Get(serverIDKey), told.Get(serverCountKey)
	if len(id) != 1 || len(count) != 1 {
		// A server that refuses us says why instead.
		if err := stream.RecvMsg(new(client.Packet)); err != nil {
			return "", 0, err
		}
		return "", 0, errors.New("the server does not say who it is")
	}
	number, err := strconv.Atoi(count[0])
	if err != nil {
		return "", 0, err
	}
	return id[0], number, nil
}
