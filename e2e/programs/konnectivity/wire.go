package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"sync"

	"google.golang.org/grpc"
	"sigs.k8s.io/apiserver-network-proxy/konnectivity-client/proto/client"
)

// The names of what an agent and a server tell each other beside packets (gRPC metadata).
const (
	agentIDKey          = "agentid"
	agentIdentifiersKey = "agentidentifiers"
	serverIDKey         = "serverid"
	serverCountKey      = "servercount"
	authorizationKey    = "authorization"
	bearer              = "Bearer "
)

// The agents' service: proto/agent/agent.proto of kubernetes-sigs/apiserver-network-proxy, which has no package.
const (
	agentServiceName = "AgentService"
	connectName      = "Connect"
)

type agentService interface {
	Connect(stream grpc.ServerStream) error
}

var connectStream = grpc.StreamDesc{
	StreamName:    connectName,
	ServerStreams: true,
	ClientStreams: true,
	Handler:       func(service any, stream grpc.ServerStream) error { return service.(agentService).Connect(stream) },
}

var agentServiceDescription = grpc.ServiceDesc{
	ServiceName: agentServiceName,
	HandlerType: (*agentService)(nil),
	Streams:     []grpc.StreamDesc{connectStream},
}

// A link sends packets for many goroutines over one stream.
type link struct {
	mutex  sync.Mutex
	stream interface{ SendMsg(message any) error }
	closed bool
}

var errClosed = errors.New("the stream is closed")

func (l *link) send(packet *client.Packet) error {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.closed {
		return errClosed
	}
	return l.stream.SendMsg(packet)
}

// close is called when the stream ends, after which it must not be used any more.
func (l *link) close() {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.closed = true
}

func dialResponse(random, connection int64, failure string) *client.Packet {
	return &client.Packet{Type: client.PacketType_DIAL_RSP, Payload: &client.Packet_DialResponse{
		DialResponse: &client.DialResponse{Random: random, ConnectID: connection, Error: failure},
	}}
}

func closeDial(random int64) *client.Packet {
	return &client.Packet{Type: client.PacketType_DIAL_CLS, Payload: &client.Packet_CloseDial{
		CloseDial: &client.CloseDial{Random: random},
	}}
}

func closeRequest(connection int64) *client.Packet {
	return &client.Packet{Type: client.PacketType_CLOSE_REQ, Payload: &client.Packet_CloseRequest{
		CloseRequest: &client.CloseRequest{ConnectID: connection},
	}}
}

func closeResponse(connection int64, failure string) *client.Packet {
	return &client.Packet{Type: client.PacketType_CLOSE_RSP, Payload: &client.Packet_CloseResponse{
		CloseResponse: &client.CloseResponse{ConnectID: connection, Error: failure},
	}}
}

func data(connection int64, content []byte) *client.Packet {
	return &client.Packet{Type: client.PacketType_DATA, Payload: &client.Packet_Data{
		Data: &client.Data{ConnectID: connection, Data: content},
	}}
}

// newID is a random name, as agents and servers need one each.
func newID() string {
	id := make([]byte, 16)
	// It never fails: Go ends the program instead.
	_, _ = rand.Read(id)
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}
