// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"

	"incamera/media/e2ee"
	"incamera/media/frame"
)

// A State is what a connection is worth now.
type State uint8

// The states of a connection. A Lost one may be Connected again, by itself
// within 30 s or by [Peer.Restart]; a Closed one never.
const (
	Connecting State = iota // no frame has a way yet
	Connected               // frames flow
	Lost                    // the other room has been silent for 2 s, or was never reached
	Closed                  // by Close, by the other room, or because the handshake failed
)

// String names the state as logs do.
func (s State) String() string {
	switch s {
	case Connecting:
		return "connecting"
	case Connected:
		return "connected"
	case Lost:
		return "lost"
	case Closed:
		return "closed"
	}
	return "unknown"
}

// A Handler takes what comes from the other room. Its methods are called from
// goroutines of the peer, those of one kind of frame one after the other, others
// at once. They must not block, and must not call [Peer.Close], which waits for
// them.
type Handler interface {
	// Frame takes one whole sealed frame. Camera and Content frames come in
	// the order in which they were sent; Audio frames come as they arrive, so
	// that the jitter buffer decides how long to wait.
	Frame(Received)
	// KeyFrameWanted says that the next frame of this kind should be a key
	// frame: the other room asked for one (PLI or FIR), the connection has
	// just come up, or frames to this room had to be dropped. It may come
	// often; the caller limits what it does about it.
	KeyFrameWanted(kind frame.Kind)
	// State tells each change of state, in order, the last one Closed.
	State(State)
}

// Received is one sealed frame from the other room.
type Received struct {
	Kind frame.Kind
	// Wire is the sealed frame. The handler owns it.
	Wire []byte
	// Time is when the other room captured the frame, on a clock of its own
	// that all kinds share: the difference of two times of one peer is the
	// time that passed between them, for sound and pictures alike. It comes
	// from the wire, unauthenticated.
	Time time.Duration
	// Seq is the RTP number of the frame's first packet, counted from the
	// first one that came. Audio frames that follow one another have numbers
	// that do; a late one has a lower number than the one before it.
	Seq uint32
	// Gap reports that packets right before this frame were given up, so
	// frames may be missing.
	Gap bool
	// Arrived is when the frame was whole, on the clock of [frame.Now].
	Arrived time.Duration
}

// Errors that callers act on.
var (
	// ErrNotConnected means that the frame was dropped because there is no
	// connection now. The caller goes on with the next one.
	ErrNotConnected = errors.New("peer: not connected")
	// ErrFrame means that the frame is the zero Sealed, or larger than
	// [MaxVideoFrame] or [MaxAudioFrame]. The caller has a defect, or an encoder
	// that does not keep to its rate.
	ErrFrame = errors.New("peer: not a frame that can be sent")
	// ErrDescription means that the other room's description is not one that a
	// room makes. The caller gives up on the peer.
	ErrDescription = errors.New("peer: description refused")
	// ErrClosed means that the peer is closed.
	ErrClosed = errors.New("peer: closed")
)

// kinds is how many kinds of frames there are; they count from 0.
const kinds = 3

// A Peer is the connection to one other room. It is safe for concurrent use.
//
// [New] and then, at one end, Offer and Accept, at the other Answer, lead to
// Connected. [Peer.Close] ends it.
type Peer struct {
	handler Handler
	log     *slog.Logger
	pc      *webrtc.PeerConnection
	rate    rate
	out     [kinds]*outbound
	in      [kinds]*inbound
	start   time.Time // of the peer's own clock; see elapsed
	latest  atomic.Int64
	rtt     atomic.Int64 // nanoseconds

	state   atomic.Uint32 // a State, written by watch
	changed chan struct{} // to watch: look at the connection again
	wanted  [kinds]atomic.Bool
	send    chan struct{} // to pace: there is something to send

	signalling sync.Mutex // serialises Offer, Answer, Accept and Restart
	remote     *remote    // what the first description said; nil before

	mu      sync.Mutex // guards closing, so that no goroutine starts after Close
	closing bool
	done    chan struct{}
	wg      sync.WaitGroup
}

// New makes a peer that is Connecting. It reaches no one before Offer or
// Answer; the caller closes it in any case.
func New(api *API, h Handler, log *slog.Logger) (*Peer, error) {
	pc, estimator, err := api.connect()
	if err != nil {
		return nil, err
	}
	p := &Peer{
		handler: h,
		log:     log,
		pc:      pc,
		rate:    rate{estimator: estimator},
		start:   time.Now(),
		changed: make(chan struct{}, 1),
		send:    make(chan struct{}, 1),
		done:    make(chan struct{}),
	}
	if err := p.addTracks(); err != nil {
		_ = pc.Close() // nothing has started
		return nil, err
	}
	pc.OnTrack(p.track)
	pc.OnConnectionStateChange(func(webrtc.PeerConnectionState) { p.poke(p.changed) })
	p.run(p.watch)
	p.run(p.pace)
	return p, nil
}

// addTracks makes one transceiver for each kind, in the order of the kinds: the
// order of the media sections of every description.
func (p *Peer) addTracks() error {
	origin := frame.Now()
	for k := range frame.Kind(kinds) {
		capability := capabilityVP8
		if k == frame.Audio {
			capability = capabilityOpus
		}
		track, err := webrtc.NewTrackLocalStaticRTP(capability, k.String(), "room")
		if err != nil {
			return fmt.Errorf("peer: track of %v: %w", k, err)
		}
		transceiver, err := p.pc.AddTransceiverFromTrack(track, webrtc.RTPTransceiverInit{
			Direction: webrtc.RTPTransceiverDirectionSendrecv,
		})
		if err != nil {
			return fmt.Errorf("peer: transceiver of %v: %w", k, err)
		}
		p.out[k] = newOutbound(k, track, transceiver.Sender(), origin)
		p.in[k] = newInbound(k, transceiver.Receiver())
		p.run(func() { p.readSenderReports(p.out[k]) })
		p.run(func() { p.readReceiverReports(p.in[k]) })
	}
	return nil
}

// run starts a goroutine that Close waits for.
func (p *Peer) run(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closing {
		p.wg.Go(f)
	}
}

// poke wakes the reader of a channel of capacity one.
func (p *Peer) poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// elapsed is the peer's own clock, for queues and pacing.
func (p *Peer) elapsed() time.Duration { return time.Since(p.start) }

// Close ends the connection, tells the other room if it can, waits until no
// handler runs any more, the last call being State(Closed), and frees
// everything. It may be called twice.
func (p *Peer) Close() error {
	p.mu.Lock()
	first := !p.closing
	p.closing = true
	p.mu.Unlock()
	var err error
	if first {
		close(p.done)
		err = p.pc.GracefulClose()
	}
	p.wg.Wait()
	return err
}

// watch tells the handler about changes of state and about key frames that the
// queues want, in goroutines' stead that must not call it.
func (p *Peer) watch() {
	state := Connecting
	for {
		for k := range p.wanted {
			if p.wanted[k].Swap(false) {
				p.handler.KeyFrameWanted(frame.Kind(k))
			}
		}
		if next := p.look(state); next != state {
			state = next
			p.enter(state)
		}
		if state == Closed {
			<-p.done
			return
		}
		select {
		case <-p.changed:
		case <-p.done:
			p.enter(Closed)
			return
		}
	}
}

// enter makes state the present one.
func (p *Peer) enter(state State) {
	if state != Connected {
		p.state.Store(uint32(state))
	}
	for _, o := range p.out {
		o.reset() // what waited is stale, and a decoder needs a key frame first
	}
	if state == Connected {
		p.state.Store(uint32(state))
	}
	p.log.Info("connection changed", "state", state.String())
	p.handler.State(state)
	if state != Connected {
		return
	}
	for k, o := range p.out {
		if k == int(frame.Camera) || o.used.Load() && k == int(frame.Content) {
			p.handler.KeyFrameWanted(frame.Kind(k))
		}
	}
}

// look maps what pion says to a state. Connecting is never entered again: a
// connection that ICE restarts is Lost until it is Connected.
func (p *Peer) look(now State) State {
	switch p.pc.ConnectionState() {
	case webrtc.PeerConnectionStateConnected:
		return Connected
	case webrtc.PeerConnectionStateDisconnected:
		return Lost
	case webrtc.PeerConnectionStateFailed:
		if p.pc.ICEConnectionState() == webrtc.ICEConnectionStateFailed {
			return Lost
		}
		return Closed // DTLS failed, which is final
	case webrtc.PeerConnectionStateClosed:
		return Closed
	case webrtc.PeerConnectionStateUnknown, webrtc.PeerConnectionStateNew, webrtc.PeerConnectionStateConnecting:
		if now == Connected {
			return Lost
		}
	}
	return now
}

// State returns the present state.
func (p *Peer) State() State { return State(p.state.Load()) }

// Send queues a sealed frame for the other room. It never blocks and keeps
// nothing of s: the caller may use its buffer again at once.
//
// If pictures wait for more than 250 ms, or 8 of them, those waiting are dropped
// and so are all others up to the next key frame, which the handler is asked
// for; of sound the oldest of 5 packets is dropped. That is no error: [Stats]
// counts it. The errors are [ErrNotConnected] and [ErrFrame].
func (p *Peer) Send(s e2ee.Sealed) error {
	wire, kind := s.Bytes(), s.Kind()
	limit := MaxVideoFrame
	if kind == frame.Audio {
		limit = MaxAudioFrame
	}
	if len(wire) == 0 || len(wire) > limit || int(kind) >= kinds {
		return ErrFrame
	}
	o := p.out[kind]
	o.used.Store(true)
	if p.State() != Connected {
		return ErrNotConnected
	}
	if wanted := o.push(wire, s.PTS(), s.Key(), p.elapsed()); wanted {
		p.wanted[kind].Store(true)
		p.poke(p.changed)
	}
	p.poke(p.send)
	return nil
}

// RequestKeyFrame asks the other room for a key frame of a kind (PLI, RFC 4585,
// Section 6.3.1). The caller limits how often.
func (p *Peer) RequestKeyFrame(kind frame.Kind) error {
	if kind != frame.Camera && kind != frame.Content {
		return fmt.Errorf("peer: no key frames of %v", kind)
	}
	if p.State() != Connected {
		return ErrNotConnected
	}
	ssrc := p.in[kind].ssrc.Load()
	if ssrc == 0 {
		return ErrNotConnected
	}
	p.in[kind].keyRequests.Add(1)
	if err := p.pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: ssrc}}); err != nil {
		return fmt.Errorf("peer: key frame request: %w", err)
	}
	return nil
}

// Target returns how many bits a second this peer can take, sound and headers
// included; see [rate].
func (p *Peer) Target() int { return p.rate.target(p.elapsed()) }
