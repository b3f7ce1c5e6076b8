// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pion/webrtc/v4"
)

// gatherLimit bounds how long the room's own addresses are gathered. Host
// addresses take milliseconds; an interface that hangs must not hold a join up.
const gatherLimit = 2 * time.Second

// Offer begins a connection: it returns a description with all addresses of this
// room, for the other room's Answer. It is called once, at one end.
func (p *Peer) Offer(ctx context.Context) (string, error) {
	p.signalling.Lock()
	defer p.signalling.Unlock()
	return p.offer(ctx, nil)
}

// Restart returns an offer that makes a connection try new addresses, after
// Lost; it is carried as the first one was and answered by the other room's
// Answer. Streams go on, and so do the keys of SRTP.
func (p *Peer) Restart(ctx context.Context) (string, error) {
	p.signalling.Lock()
	defer p.signalling.Unlock()
	if p.remote == nil {
		return "", errors.New("peer: nothing to restart")
	}
	return p.offer(ctx, &webrtc.OfferOptions{ICERestart: true})
}

func (p *Peer) offer(ctx context.Context, o *webrtc.OfferOptions) (string, error) {
	if err := p.open(); err != nil {
		return "", err
	}
	d, err := p.pc.CreateOffer(o)
	if err != nil {
		return "", fmt.Errorf("peer: offer: %w", err)
	}
	return p.local(ctx, d)
}

// Answer takes the other room's offer and returns the answer to it, with all
// addresses of this room. Errors that wrap [ErrDescription] are about the offer.
func (p *Peer) Answer(ctx context.Context, offer string) (string, error) {
	p.signalling.Lock()
	defer p.signalling.Unlock()
	if err := p.take(webrtc.SDPTypeOffer, offer); err != nil {
		return "", err
	}
	d, err := p.pc.CreateAnswer(nil)
	if err != nil {
		return "", fmt.Errorf("peer: answer: %w", err)
	}
	return p.local(ctx, d)
}

// Accept takes the other room's answer to the last offer. The connection is
// made beside it; the handler's State tells how that ends.
func (p *Peer) Accept(ctx context.Context, answer string) error {
	p.signalling.Lock()
	defer p.signalling.Unlock()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return p.take(webrtc.SDPTypeAnswer, answer)
}

func (p *Peer) open() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closing {
		return ErrClosed
	}
	return nil
}

// take checks a description and hands it to pion.
func (p *Peer) take(kind webrtc.SDPType, text string) error {
	if err := p.open(); err != nil {
		return err
	}
	r, err := parseDescription(text)
	if err != nil {
		return err
	}
	if p.remote != nil && *p.remote != *r {
		return fmt.Errorf("%w: of another room, or of another start of it", ErrDescription)
	}
	if err := p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: kind, SDP: text}); err != nil {
		return fmt.Errorf("%w: %w", ErrDescription, err)
	}
	p.remote = r
	return nil
}

// local makes a description ours and waits until it has our addresses.
func (p *Peer) local(ctx context.Context, d webrtc.SessionDescription) (string, error) {
	gathered := webrtc.GatheringCompletePromise(p.pc)
	if err := p.pc.SetLocalDescription(d); err != nil {
		return "", fmt.Errorf("peer: own description: %w", err)
	}
	limit := time.NewTimer(gatherLimit)
	defer limit.Stop()
	select {
	case <-gathered:
	case <-limit.C: // what there is by now must do
	case <-ctx.Done():
		return "", context.Cause(ctx)
	case <-p.done:
		return "", ErrClosed
	}
	text := p.pc.LocalDescription().SDP
	if !strings.Contains(text, "a=candidate:") {
		return "", errors.New("peer: this room has no network address: check its cable and the interfaces allowed")
	}
	if _, err := parseDescription(text); err != nil {
		return "", fmt.Errorf("peer: own description would be refused: %w", err)
	}
	return text, nil
}
