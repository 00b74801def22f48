package main

import (
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"sigs.k8s.io/apiserver-network-proxy/konnectivity-client/proto/client"
)

// An agent may ask whether we are still there, but not more often than this.
const shortestPing = 30 * time.Second

type serverOptions struct {
	socket                              string
	certificate, key                    string
	mode                                string
	serverPort                          int
	agentPort, adminPort, healthPort    int
	agentNamespace, agentServiceAccount string
	kubeconfig, audience                string
	count                               int
	keepalive                           time.Duration
}

func readServerOptions(arguments []string) (*serverOptions, error) {
	options := &serverOptions{}
	flags := flag.NewFlagSet("proxy-server", flag.ContinueOnError)
	flags.StringVar(&options.socket, "uds-name", "", "where the API server connects to")
	flags.StringVar(&options.certificate, "cluster-cert", "", "our certificate for agents")
	flags.StringVar(&options.key, "cluster-key", "", "its key")
	flags.StringVar(&options.mode, "mode", "grpc", "what the API server speaks")
	flags.IntVar(&options.serverPort, "server-port", 8090, "0 for the socket")
	flags.IntVar(&options.agentPort, "agent-port", 8091, "where agents connect to")
	flags.IntVar(&options.adminPort, "admin-port", 8095, "for people, on this host only")
	flags.IntVar(&options.healthPort, "health-port", 8092, "for kubelet")
	flags.StringVar(&options.agentNamespace, "agent-namespace", "", "the agents' namespace")
	flags.StringVar(&options.agentServiceAccount, "agent-service-account", "", "the agents' service account")
	flags.StringVar(&options.kubeconfig, "kubeconfig", "", "for asking whose a token is")
	flags.StringVar(&options.audience, "authentication-audience", "", "whom the agents' tokens are for")
	flags.IntVar(&options.count, "server-count", 1, "how many servers an agent has to connect to")
	flags.DurationVar(&options.keepalive, "keepalive-time", time.Hour, "after how long a silent agent is asked")
	if err := parse(flags, arguments); err != nil {
		return nil, err
	}
	switch {
	case options.mode != "grpc":
		return nil, fmt.Errorf("--mode=%s: only grpc is known here", options.mode)
	case options.serverPort != 0 || options.socket == "":
		return nil, errors.New("--server-port must be 0 and --uds-name given: only the socket is served here")
	case options.certificate == "" || options.key == "":
		return nil, errors.New("--cluster-cert and --cluster-key are needed")
	case options.agentNamespace == "" || options.agentServiceAccount == "" || options.audience == "" || options.kubeconfig == "":
		return nil, errors.New("agents are only let in with a token: --agent-namespace, --agent-service-account, " +
			"--authentication-audience and --kubeconfig are needed")
	}
	return options, nil
}

// startServer returns when everything listens.
func startServer(arguments []string) error {
	options, err := readServerOptions(arguments)
	if err != nil {
		return err
	}
	account := fmt.Sprintf("system:serviceaccount:%s:%s", options.agentNamespace, options.agentServiceAccount)
	reviewer, err := newReviewer(options.kubeconfig, options.audience, account)
	if err != nil {
		return err
	}
	hub := newHub(options.count, reviewer.review)
	if _, err := serveAPIServer(options.socket, hub); err != nil {
		return err
	}
	address := net.JoinHostPort("", strconv.Itoa(options.agentPort))
	if _, err := serveAgents(options, address, hub); err != nil {
		return err
	}
	if err := listenHTTP("127.0.0.1", options.adminPort, http.NotFoundHandler()); err != nil {
		return err
	}
	return startHealth("", options.healthPort, hub.hasAgent)
}

func serveAPIServer(socket string, hub *hub) (*grpc.Server, error) {
	// A server that was killed has left its socket.
	if err := os.Remove(socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	// Upstream lets the owner and the group in, and nobody else.
	mask := syscall.Umask(0o007)
	listener, err := net.Listen("unix", socket)
	syscall.Umask(mask)
	if err != nil {
		return nil, err
	}
	server := grpc.NewServer()
	client.RegisterProxyServiceServer(server, hub)
	go serve(server, listener)
	return server, nil
}

func serveAgents(options *serverOptions, address string, hub *hub) (*grpc.Server, error) {
	// Read once, as upstream does: another certificate needs another process.
	pair, err := tls.LoadX509KeyPair(options.certificate, options.key)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	server := grpc.NewServer(
		grpc.Creds(credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12})),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: options.keepalive}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: shortestPing, PermitWithoutStream: true}),
	)
	server.RegisterService(&agentServiceDescription, hub)
	go serve(server, listener)
	return server, nil
}

func serve(server *grpc.Server, listener net.Listener) {
	if err := server.Serve(listener); err != nil {
		log.Fatal(err)
	}
}
