package main

import (
	"context"
	"log"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"sigs.k8s.io/apiserver-network-proxy/konnectivity-client/proto/client"
)

const (
	longestDial = 5 * time.Second
	// How long data may stay unread by whom it is for, after the API server has closed.
	longestFlush = 5 * time.Second
	// How many packets wait for whom they are for before the agent reads no more.
	queueLength = 150
	chunk       = 32 << 10
)

// A session is an agent's connection to one server.
type session struct {
	stream grpc.ClientStream
	server link
	ctx    context.Context
	end    context.CancelFunc

	mutex       sync.Mutex
	last        int64
	dials       map[int64]context.CancelFunc
	connections map[int64]*connection
}

// A connection leads from the agent to whom the API server wanted to reach.
type connection struct {
	id     int64
	socket net.Conn
	// What is to be sent; nothing is its end.
	queue chan []byte
	done  chan struct{}
}

func newSession(stream grpc.ClientStream) *session {
	ctx, end := context.WithCancel(stream.Context())
	return &session{
		stream:      stream,
		server:      link{stream: stream},
		ctx:         ctx,
		end:         end,
		dials:       make(map[int64]context.CancelFunc),
		connections: make(map[int64]*connection),
	}
}

// run returns when the server is lost; everything is closed then.
func (s *session) run() error {
	defer s.closeAll()
	defer s.end()
	for {
		packet := new(client.Packet)
		if err := s.stream.RecvMsg(packet); err != nil {
			return err
		}
		switch packet.Type {
		case client.PacketType_DIAL_REQ:
			s.startDial(packet.GetDialRequest())
		case client.PacketType_DIAL_CLS:
			if cancel := s.takeDial(packet.GetCloseDial().Random); cancel != nil {
				cancel()
			}
		case client.PacketType_DATA:
			id := connectionOf(packet)
			found := s.find(id)
			if content := packet.GetData().GetData(); found != nil && len(content) > 0 {
				found.enqueue(content)
			} else if found == nil {
				_ = s.server.send(closeResponse(id, "there is no such connection"))
			}
		case client.PacketType_CLOSE_REQ:
			id := connectionOf(packet)
			if found := s.find(id); found != nil {
				found.finish()
			} else {
				_ = s.server.send(closeResponse(id, "there is no such connection"))
			}
		default:
			log.Printf("the server sent a packet of type %v, which is not understood", packet.Type)
		}
	}
}

func (s *session) startDial(request *client.DialRequest) {
	ctx, cancel := context.WithTimeout(s.ctx, longestDial)
	s.mutex.Lock()
	s.dials[request.Random] = cancel
	s.mutex.Unlock()
	go func() {
		defer cancel()
		socket, err := new(net.Dialer).DialContext(ctx, request.Protocol, request.Address)
		s.takeDial(request.Random)
		if err != nil {
			_ = s.server.send(dialResponse(request.Random, 0, err.Error()))
			return
		}
		made := s.add(socket)
		if err := s.server.send(dialResponse(request.Random, made.id, "")); err != nil {
			_ = socket.Close()
		}
		go made.write()
		s.read(made)
	}()
}

// read sends on what comes, and tells the server when nothing more does. The protocol has no half-closed connections.
func (s *session) read(from *connection) {
	buffer := make([]byte, chunk)
	var err error
	for err == nil {
		var length int
		length, err = from.socket.Read(buffer)
		if length > 0 && s.server.send(data(from.id, buffer[:length])) != nil {
			break
		}
	}
	s.mutex.Lock()
	delete(s.connections, from.id)
	s.mutex.Unlock()
	close(from.done)
	_ = from.socket.Close()
	_ = s.server.send(closeResponse(from.id, ""))
}

func (s *session) add(socket net.Conn) *connection {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.last++
	made := &connection{id: s.last, socket: socket, queue: make(chan []byte, queueLength), done: make(chan struct{})}
	s.connections[made.id] = made
	return made
}

func (s *session) find(id int64) *connection {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.connections[id]
}

func (s *session) takeDial(random int64) context.CancelFunc {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	cancel := s.dials[random]
	delete(s.dials, random)
	return cancel
}

func (s *session) closeAll() {
	s.server.close()
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for _, one := range s.connections {
		_ = one.socket.Close()
	}
}

func (c *connection) enqueue(content []byte) {
	select {
	case c.queue <- content:
	case <-c.done:
	}
}

// finish closes the connection after what is still to be sent.
func (c *connection) finish() {
	_ = c.socket.SetWriteDeadline(time.Now().Add(longestFlush))
	c.enqueue(nil)
}

func (c *connection) write() {
	for {
		select {
		case content := <-c.queue:
			if len(content) == 0 {
				// The reader notices, and tells the server.
				_ = c.socket.Close()
				return
			}
			if _, err := c.socket.Write(content); err != nil {
				_ = c.socket.Close()
				return
			}
		case <-c.done:
			return
		}
	}
}
