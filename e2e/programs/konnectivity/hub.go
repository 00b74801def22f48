package main

import (
	"context"
	"errors"
	"io"
	"log"
	"strconv"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"sigs.k8s.io/apiserver-network-proxy/konnectivity-client/proto/client"
)

// A hub passes packets between the API server, which dials, and the agents, which connect.
type hub struct {
	client.UnimplementedProxyServiceServer

	id    string
	count int
	// admit says whether a bearer token is an agent's.
	admit func(ctx context.Context, token string) error

	mutex  sync.Mutex
	agents map[*link]bool // whether it is draining
	dials  map[int64]tunnel
	open   map[end]tunnel
}

// A tunnel has one end at the API server and one at an agent.
type tunnel struct {
	front, agent *link
}

// An end is an agent's: each agent numbers its connections by itself.
type end struct {
	agent      *link
	connection int64
}

func newHub(count int, admit func(ctx context.Context, token string) error) *hub {
	return &hub{
		id:     newID(),
		count:  count,
		admit:  admit,
		agents: make(map[*link]bool),
		dials:  make(map[int64]tunnel),
		open:   make(map[end]tunnel),
	}
}

// Proxy serves the API server: one stream for each connection that it makes.
func (h *hub) Proxy(stream client.ProxyService_ProxyServer) error {
	front := &link{stream: stream}
	defer h.frontEnded(front)
	var agent *link
	for {
		packet, err := stream.Recv()
		if err != nil {
			return ending(err)
		}
		switch packet.Type {
		case client.PacketType_DIAL_REQ:
			request := packet.GetDialRequest()
			if agent = h.dial(request.Random, front); agent == nil {
				return front.send(dialResponse(request.Random, 0, "no agent is connected"))
			}
			h.toAgent(agent, packet, func() *client.Packet {
				h.takeDial(request.Random)
				return dialResponse(request.Random, 0, "the agent was lost")
			}, front)
		case client.PacketType_DIAL_CLS:
			if dial, found := h.takeDial(packet.GetCloseDial().Random); found {
				h.toAgent(dial.agent, packet, nil, nil)
			}
		case client.PacketType_DATA, client.PacketType_CLOSE_REQ:
			connection := connectionOf(packet)
			if !h.isOpen(agent, connection, front) {
				_ = front.send(closeResponse(connection, "there is no such connection"))
				continue
			}
			h.toAgent(agent, packet, func() *client.Packet { return closeResponse(connection, "the agent was lost") }, front)
		default:
			log.Printf("the API server sent a packet of type %v, which is not understood", packet.Type)
		}
	}
}

// Connect serves an agent, for as long as it is connected.
func (h *hub) Connect(stream grpc.ServerStream) error {
	told, _ := metadata.FromIncomingContext(stream.Context())
	name := told.Get(agentIDKey)
	if len(name) != 1 {
		return status.Errorf(codes.InvalidArgument, "an agent must have one id, not %d", len(name))
	}
	if err := h.authenticate(stream.Context(), told); err != nil {
		log.Printf("the agent %s is refused: %v", name[0], err)
		return status.Error(codes.Unauthenticated, err.Error())
	}
	if err := stream.SendHeader(metadata.Pairs(serverIDKey, h.id, serverCountKey, strconv.Itoa(h.count))); err != nil {
		return err
	}
	agent := &link{stream: stream}
	h.mutex.Lock()
	h.agents[agent] = false
	h.mutex.Unlock()
	log.Printf("the agent %s is connected", name[0])
	defer log.Printf("the agent %s is gone", name[0])
	defer h.agentEnded(agent)
	for {
		packet := new(client.Packet)
		if err := stream.RecvMsg(packet); err != nil {
			return ending(err)
		}
		h.fromAgent(agent, packet)
	}
}

func (h *hub) fromAgent(agent *link, packet *client.Packet) {
	switch packet.Type {
	case client.PacketType_DIAL_RSP:
		response := packet.GetDialResponse()
		dial, found := h.takeDial(response.Random)
		if !found {
			// Nobody waits for it any more.
			if response.ConnectID != 0 {
				_ = agent.send(closeRequest(response.ConnectID))
			}
			return
		}
		if response.Error == "" {
			// First, so that the answer to this packet finds it.
			h.mutex.Lock()
			h.open[end{agent, response.ConnectID}] = dial
			h.mutex.Unlock()
		}
		_ = dial.front.send(packet)
	case client.PacketType_DIAL_CLS:
		if dial, found := h.takeDial(packet.GetCloseDial().Random); found {
			_ = dial.front.send(packet)
		}
	case client.PacketType_DATA:
		connection := connectionOf(packet)
		h.mutex.Lock()
		found, isOpen := h.open[end{agent, connection}]
		h.mutex.Unlock()
		if !isOpen || found.front.send(packet) != nil {
			_ = agent.send(closeRequest(connection))
		}
	case client.PacketType_CLOSE_RSP:
		if found, isOpen := h.takeOpen(end{agent, connectionOf(packet)}); isOpen {
			_ = found.front.send(packet)
		}
	case client.PacketType_DRAIN:
		h.mutex.Lock()
		h.agents[agent] = true
		h.mutex.Unlock()
	default:
		log.Printf("an agent sent a packet of type %v, which is not understood", packet.Type)
	}
}

// toAgent sends a packet on, or tells the API server what instead is to be told when the agent is lost.
func (h *hub) toAgent(agent *link, packet *client.Packet, instead func() *client.Packet, front *link) {
	if err := agent.send(packet); err != nil && instead != nil {
		_ = front.send(instead())
	}
}

// dial picks an agent, one that does not drain if there is one, and notes that its answer is for this stream.
func (h *hub) dial(random int64, front *link) *link {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	var picked *link
	// Go walks through a map in random order.
	for agent, isDraining := range h.agents {
		if picked == nil || !isDraining {
			picked = agent
		}
		if !isDraining {
			break
		}
	}
	if picked != nil {
		h.dials[random] = tunnel{front, picked}
	}
	return picked
}

func (h *hub) takeDial(random int64) (tunnel, bool) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	dial, found := h.dials[random]
	delete(h.dials, random)
	return dial, found
}

func (h *hub) takeOpen(at end) (tunnel, bool) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	found, isOpen := h.open[at]
	delete(h.open, at)
	return found, isOpen
}

// isOpen holds only for the stream that has opened the connection.
func (h *hub) isOpen(agent *link, connection int64, front *link) bool {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	found, isOpen := h.open[end{agent, connection}]
	return isOpen && found.front == front
}

func (h *hub) hasAgent() bool {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	return len(h.agents) > 0
}

// frontEnded lets the agents close what the API server has left open.
func (h *hub) frontEnded(front *link) {
	front.close()
	for random, dial := range h.takeAllDials(func(dial tunnel) bool { return dial.front == front }) {
		_ = dial.agent.send(closeDial(random))
	}
	for at := range h.takeAllOpen(func(open tunnel) bool { return open.front == front }) {
		_ = at.agent.send(closeRequest(at.connection))
	}
}

// agentEnded tells the API server what is lost with the agent.
func (h *hub) agentEnded(agent *link) {
	agent.close()
	h.mutex.Lock()
	delete(h.agents, agent)
	h.mutex.Unlock()
	for random, dial := range h.takeAllDials(func(dial tunnel) bool { return dial.agent == agent }) {
		_ = dial.front.send(closeDial(random))
	}
	for at, open := range h.takeAllOpen(func(open tunnel) bool { return open.agent == agent }) {
		_ = open.front.send(closeResponse(at.connection, "the agent was lost"))
	}
}

func (h *hub) takeAllDials(wanted func(tunnel) bool) map[int64]tunnel {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	return takeAll(h.dials, wanted)
}

func (h *hub) takeAllOpen(wanted func(tunnel) bool) map[end]tunnel {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	return takeAll(h.open, wanted)
}

func takeAll[K comparable](from map[K]tunnel, wanted func(tunnel) bool) map[K]tunnel {
	taken := make(map[K]tunnel)
	for key, one := range from {
		if wanted(one) {
			taken[key] = one
			delete(from, key)
		}
	}
	return taken
}

func (h *hub) authenticate(ctx context.Context, told metadata.MD) error {
	given := told.Get(authorizationKey)
	if len(given) != 1 {
		return errors.New("there must be one token")
	}
	token, isBearer := strings.CutPrefix(given[0], bearer)
	if !isBearer {
		return errors.New("the token is no bearer token")
	}
	return h.admit(ctx, token)
}

func connectionOf(packet *client.Packet) int64 {
	switch packet.Type {
	case client.PacketType_DATA:
		return packet.GetData().GetConnectID()
	case client.PacketType_CLOSE_REQ:
		return packet.GetCloseRequest().GetConnectID()
	default:
		return packet.GetCloseResponse().GetConnectID()
	}
}

// ending is what a stream's handler returns when nothing more can be received.
func ending(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
