package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"sigs.k8s.io/apiserver-network-proxy/konnectivity-client/pkg/client"
)

const patience = 30 * time.Second

// A site is a server with an agent, as in a tenant.
type site struct {
	folder  string
	options *serverOptions
	address string
	hub     *hub
	servers []*grpc.Server
}

func newSite(t *testing.T) *site {
	t.Helper()
	folder := t.TempDir()
	writePair(t, folder)
	write(t, filepath.Join(folder, "token"), []byte("sesame\n"))
	s := &site{
		folder: folder,
		options: &serverOptions{
			socket:      filepath.Join(folder, "socket"),
			certificate: filepath.Join(folder, "tls.crt"),
			key:         filepath.Join(folder, "tls.key"),
			keepalive:   time.Hour,
		},
		address: freeAddress(t),
	}
	s.start(t)
	t.Cleanup(s.stop)
	agent, err := newOutpost(&agentOptions{
		authority:    filepath.Join(folder, "tls.crt"),
		host:         "localhost",
		port:         portOf(t, s.address),
		token:        filepath.Join(folder, "token"),
		id:           newID(),
		keepalive:    time.Hour,
		pause:        10 * time.Millisecond,
		longestPause: 100 * time.Millisecond,
	})
	must(t, err)
	go agent.keepConnected(t.Context())
	return s
}

func (s *site) start(t *testing.T) {
	t.Helper()
	s.hub = newHub(1, func(_ context.Context, token string) error {
		if token != "sesame" {
			return errors.New("not an agent's token")
		}
		return nil
	})
	forAPIServer, err := serveAPIServer(s.options.socket, s.hub)
	must(t, err)
	forAgents, err := serveAgents(s.options, s.address, s.hub)
	must(t, err)
	s.servers = []*grpc.Server{forAPIServer, forAgents}
}

func (s *site) stop() {
	for _, server := range s.servers {
		server.Stop()
	}
}

// dial reaches an address as kube-apiserver would.
func (s *site) dial(t *testing.T, address string) (net.Conn, error) {
	t.Helper()
	until(t, "an agent", s.hub.hasAgent)
	tunnel, err := client.CreateSingleUseGrpcTunnelWithContext(
		t.Context(), t.Context(), "unix://"+s.options.socket,
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithBlock(), grpc.WithTimeout(patience),
	)
	if err != nil {
		return nil, err
	}
	return tunnel.DialContext(t.Context(), "tcp", address)
}

func TestManyConnectionsCarryDataBothWays(t *testing.T) {
	s := newSite(t)
	address := listen(t, func(socket net.Conn) { _, _ = io.Copy(socket, socket) })
	var group sync.WaitGroup
	for number := range 40 {
		group.Go(func() {
			socket, err := s.dial(t, address)
			if err != nil {
				t.Error(err)
				return
			}
			defer socket.Close()
			content := bytes.Repeat([]byte{byte(number)}, 100_000+number)
			go func() { _, _ = socket.Write(content) }()
			answer := make([]byte, len(content))
			if _, err := io.ReadFull(socket, answer); err != nil || !bytes.Equal(answer, content) {
				t.Errorf("connection %d: %v", number, err)
			}
		})
	}
	group.Wait()
	until(t, "everything to be forgotten", func() bool {
		s.hub.mutex.Lock()
		defer s.hub.mutex.Unlock()
		return len(s.hub.dials) == 0 && len(s.hub.open) == 0
	})
}

func TestWhatOneSideClosesEndsAtTheOther(t *testing.T) {
	s := newSite(t)
	received := make(chan string, 1)
	address := listen(t, func(socket net.Conn) {
		content, _ := io.ReadAll(socket)
		received <- string(content)
	})
	socket, err := s.dial(t, address)
	must(t, err)
	_, err = socket.Write([]byte("the last words"))
	must(t, err)
	must(t, socket.Close())
	if content := <-received; content != "the last words" {
		t.Errorf("arrived: %q", content)
	}

	// It must not speak first: the client loses what comes before its dial has returned.
	address = listen(t, func(socket net.Conn) {
		_, _ = socket.Read(make([]byte, 1))
		_, _ = socket.Write([]byte("good bye"))
	})
	socket, err = s.dial(t, address)
	must(t, err)
	_, err = socket.Write([]byte("?"))
	must(t, err)
	if content, err := io.ReadAll(socket); err != nil || string(content) != "good bye" {
		t.Errorf("arrived: %q, %v", content, err)
	}
}

func TestADialThatFailsSaysWhy(t *testing.T) {
	s := newSite(t)
	_, err := s.dial(t, freeAddress(t))
	if err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("the error is %v", err)
	}
}

func TestAnAgentComesBackToARestartedServer(t *testing.T) {
	s := newSite(t)
	address := listen(t, func(socket net.Conn) { _, _ = io.Copy(socket, socket) })
	socket, err := s.dial(t, address)
	must(t, err)
	s.stop()
	if _, err := io.ReadAll(socket); err != nil && !errors.Is(err, io.EOF) {
		t.Logf("as it should, the connection has ended: %v", err)
	}
	s.start(t)
	socket, err = s.dial(t, address)
	must(t, err)
	_, err = socket.Write([]byte("again"))
	must(t, err)
	answer := make([]byte, len("again"))
	_, err = io.ReadFull(socket, answer)
	must(t, err)
}

func TestAnAgentWithAnotherTokenIsRefused(t *testing.T) {
	s := newSite(t)
	write(t, filepath.Join(s.folder, "token"), []byte("please"))
	agent, err := newOutpost(&agentOptions{
		authority: s.options.certificate,
		host:      "localhost",
		port:      portOf(t, s.address),
		token:     filepath.Join(s.folder, "token"),
		keepalive: time.Hour,
	})
	must(t, err)
	err = agent.connectIfWanted(t.Context())
	if err == nil || !strings.Contains(err.Error(), "not an agent's token") {
		t.Errorf("the error is %v", err)
	}
}

func TestOnlyTheAgentsTokenForUsIsAdmitted(t *testing.T) {
	var answer string
	api := httptest.NewTLSServer(http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		var question struct{ Spec struct{ Token string } }
		_ = json.NewDecoder(request.Body).Decode(&question)
		if request.Method != http.MethodPost || question.Spec.Token != "sesame" {
			http.Error(writer, "not this", http.StatusBadRequest)
			return
		}
		writer.WriteHeader(http.StatusCreated)
		fmt.Fprint(writer, answer)
	}))
	defer api.Close()
	folder := t.TempDir()
	writePair(t, folder)
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: api.Certificate().Raw})
	write(t, filepath.Join(folder, "ca.crt"), authority)
	path := filepath.Join(folder, "kubeconfig")
	write(t, path, fmt.Appendf(nil, `
apiVersion: v1
kind: Config
current-context: here
contexts: [{name: here, context: {cluster: one, user: me}}]
clusters: [{name: one, cluster: {server: %s, certificate-authority: %s/ca.crt}}]
users: [{name: me, user: {client-certificate: %s/tls.crt, client-key: %s/tls.key}}]
`, api.URL, folder, folder, folder))
	reviewer, err := newReviewer(path, "us", "system:serviceaccount:kube-system:agent")
	must(t, err)

	const good = `{"status":{"authenticated":true,"audiences":["us"],"user":{"username":"system:serviceaccount:kube-system:agent"}}}`
	for _, one := range []struct{ answer, problem string }{
		{good, ""},
		{strings.Replace(good, "true", "false", 1), "not valid"},
		{strings.Replace(good, `["us"]`, `["them"]`, 1), "not for us"},
		{strings.Replace(good, "kube-system", "default", 1), "is of system:serviceaccount:default:agent"},
		{`{"status":{"error":"expired"}}`, "expired"},
	} {
		answer = one.answer
		err := reviewer.review(t.Context(), "sesame")
		if (err == nil) != (one.problem == "") || err != nil && !strings.Contains(err.Error(), one.problem) {
			t.Errorf("%s: %v", one.answer, err)
		}
	}
}

func TestFlagsThatKamajiDoesNotGiveAreRefused(t *testing.T) {
	if _, err := readServerOptions([]string{"--made-up=1"}); err == nil {
		t.Error("the server takes anything")
	}
	if _, err := readAgentOptions([]string{"--ca-cert=x", "--service-account-token-path=y", "more"}); err == nil {
		t.Error("the agent takes anything")
	}
}

func writePair(t *testing.T, folder string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "test"},
		DNSNames:              []string{"localhost"},
		NotAfter:              time.Now().Add(time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	must(t, err)
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	block := func(kind string, content []byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content})
	}
	write(t, filepath.Join(folder, "tls.crt"), block("CERTIFICATE", certificate))
	write(t, filepath.Join(folder, "tls.key"), block("PRIVATE KEY", encoded))
}

// listen serves each connection with this, and closes it then.
func listen(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			socket, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer socket.Close()
				serve(socket)
			}()
		}
	}()
	return listener.Addr().String()
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer listener.Close()
	return listener.Addr().String()
}

func portOf(t *testing.T, address string) int {
	t.Helper()
	found, err := net.ResolveTCPAddr("tcp", address)
	must(t, err)
	return found.Port
}

func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for started := time.Now(); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Since(started) > patience {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	must(t, os.WriteFile(path, content, 0o600))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
