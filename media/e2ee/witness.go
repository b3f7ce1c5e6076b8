// SPDX-License-Identifier: Apache-2.0

package e2ee

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"incamera/media/mls"
)

// retryProof is when evidence that could not be made is tried again.
const retryProof = time.Second

// A known is the freshness of an epoch that this room has been in.
type known struct {
	freshness
	since time.Time
}

// A bond is what the evidence in a leaf is bound to, besides the leaf.
type bond struct {
	fresh freshness
	group []byte // empty in a KeyPackage
	ok    bool
}

// A standing is what is known of the software behind one leaf.
type standing struct {
	leaf     mls.Member
	epoch    uint64 // to whose handle the evidence is bound
	since    time.Time
	evidence []byte
	bound    [32]byte
	verdict  Verdict
}

// A witness keeps what this room makes of every member's evidence. The
// goroutine of Run owns it.
type witness struct {
	set       *settings
	mode      Mode
	group     []byte
	fresh     []known // the newest epochs, at most maxHandles, the present one last
	standings map[Leaf]*standing
}

// newWitness begins with the members of a group that this room has just made or
// entered.
func newWitness(set *settings, g *mls.Group, context []mls.Extension) (*witness, error) {
	mode, err := modeOf(context)
	switch {
	case err != nil:
		return nil, err
	case mode < set.Attestation.Mode:
		return nil, fmt.Errorf("%w: the meeting takes rooms that prove nothing, this room does not", ErrPolicy)
	case mode == AttestedOnly && set.Attestation.Appraiser == nil:
		return nil, fmt.Errorf("%w: this room cannot judge the others", ErrNotAttested)
	}
	w := &witness{set: set, mode: mode, group: g.ID(), standings: map[Leaf]*standing{}}
	for _, leaf := range g.Members() {
		st := w.meet(leaf, nil) // a newcomer knows the handle of no epoch before its own
		if leaf.Index == g.Self() && set.next.ok {
			st = set.appraise(leaf, nil, []known{{set.next.fresh, time.Now()}})
		}
		w.standings[Leaf(leaf.Index)] = st
	}
	return w, w.enter(g)
}

// enter takes the handle of the group's epoch.
func (w *witness) enter(g *mls.Group) error {
	f, err := freshnessOf(g)
	if err != nil {
		return err
	}
	w.fresh = append(slices.Clone(w.fresh), known{f, time.Now()}) // snapshots have the old list
	if len(w.fresh) > maxHandles {
		w.fresh = w.fresh[1:]
	}
	w.set.next = bond{fresh: f, group: w.group, ok: true}
	return nil
}

// follow judges the leaves that a commit brought. The group has moved; the
// newest handle here is still that of the epoch before.
func (w *witness) follow(g *mls.Group, d mls.Diff) error {
	for _, leaf := range d.Removed {
		delete(w.standings, Leaf(leaf.Index))
	}
	for _, leaf := range d.Updated {
		w.standings[Leaf(leaf.Index)] = w.meet(leaf, w.group)
	}
	for _, leaf := range d.Added {
		w.standings[Leaf(leaf.Index)] = w.meet(leaf, nil)
	}
	return w.enter(g)
}

// meet judges a leaf that was not here before.
func (w *witness) meet(leaf mls.Member, group []byte) *standing {
	st := w.set.appraise(leaf, group, w.fresh)
	if st.verdict.Tier == None && w.mode == AttestedOnly {
		st.verdict.Tier = Awaited // the one that began the meeting could not prove anything before
	}
	return st
}

// heard judges the evidence that a member sent. It reports whether anything
// changed: older evidence than is known, or of an epoch that this room does not
// know, tells nothing.
func (w *witness) heard(from Leaf, epoch uint64, evidence []byte) bool {
	st := w.standings[from]
	i := slices.IndexFunc(w.fresh, func(k known) bool { return k.Epoch == epoch })
	if st == nil || i < 0 || w.set.Attestation.Appraiser == nil || st.verdict.Tier != Awaited && epoch <= st.epoch {
		return false
	}
	st.epoch, st.since, st.evidence = epoch, w.fresh[i].since, slices.Clone(evidence)
	st.bound = w.set.binding(st.leaf, w.group, w.fresh[i].freshness)
	w.set.judge(st)
	return true
}

// again judges all evidence again.
func (w *witness) again() {
	for _, st := range w.standings {
		if st.evidence != nil {
			w.set.judge(st)
		}
	}
}

// tell writes the verdicts into an epoch that nobody has seen yet.
func (w *witness) tell(e *Epoch) {
	e.fresh = w.fresh
	for i := range e.Members {
		if st := w.standings[e.Members[i].Leaf]; st != nil {
			e.Members[i].Verdict = st.verdict
		}
	}
	for i := range e.Added {
		if m, ok := e.member(e.Added[i].Leaf); ok {
			e.Added[i].Verdict = m.Verdict
		}
	}
}

// appraise judges what a leaf says of its room. group is empty for a leaf of a
// KeyPackage; fresh lists the handles that count.
func (s *settings) appraise(leaf mls.Member, group []byte, fresh []known) *standing {
	st := &standing{leaf: leaf}
	e, ok := evidenceOf(leaf)
	if !ok || s.Attestation.Appraiser == nil {
		return st
	}
	st.epoch = e.fresh.Epoch
	i := slices.IndexFunc(fresh, func(k known) bool { return k.Epoch == e.fresh.Epoch })
	if i < 0 {
		// Others could tell; this room was not there.
		st.verdict = Verdict{Tier: Awaited, Reason: "nonce_unknown"}
		return st
	}
	if fresh[i].freshness != e.fresh {
		st.verdict = Verdict{Tier: Contraindicated, Reason: "nonce_unknown", Detail: "the evidence is bound to no epoch of this meeting"}
		return st
	}
	st.since, st.evidence = fresh[i].since, e.evidence
	st.bound = s.binding(leaf, group, e.fresh)
	s.judge(st)
	return st
}

// judge renews the verdict of a standing that has evidence.
func (s *settings) judge(st *standing) {
	if !s.Attestation.Appraiser.Bound(st.evidence, st.bound) {
		st.verdict = Verdict{Tier: Contraindicated, Reason: "nonce_unknown", Detail: "the evidence is about another leaf"}
	} else {
		st.verdict = s.Attestation.Appraiser.Appraise(st.leaf.Credential.Certificates, st.evidence, st.bound)
	}
	st.verdict.At = st.since
}

// binding is the nonce of the evidence about a leaf.
func (s *settings) binding(leaf mls.Member, group []byte, f freshness) [32]byte {
	id, _, err := identify(leaf.Credential)
	if err != nil {
		return [32]byte{} // no such leaf comes here: its form was checked
	}
	return binding(s.suite.ID(), leaf.SignatureKey, leaf.EncryptionKey, id.credential, group, f)
}

// leafData implements [mls.LeafData]: the components of a new leaf of this room.
func (s *settings) leafData(ctx context.Context, encryptionKey []byte) ([]mls.AppData, error) {
	data := []mls.AppData{{Component: mls.ComponentAppComponents, Data: mls.AppComponents(components)}}
	if s.Attestation.Attestor == nil || !s.next.ok {
		return data, nil
	}
	leaf := mls.Member{
		Credential:   mls.Credential{Type: mls.X509Credential, Certificates: s.Chain},
		SignatureKey: s.Signer.Public(), EncryptionKey: encryptionKey,
	}
	evidence, err := s.prove(ctx, s.binding(leaf, s.next.group, s.next.fresh))
	if err != nil {
		// In a meeting of attested rooms nobody would take the leaf, this room
		// included. In any other it is shown as what it is.
		s.Log.Warn("a leaf without evidence", "error", err)
		return data, nil
	}
	return append(data, mls.AppData{Component: componentEvidence, Data: leafEvidence{s.next.fresh, evidence}.bytes()}), nil
}

func (s *settings) prove(ctx context.Context, nonce [32]byte) ([]byte, error) {
	evidence, err := s.Attestation.Attestor.Evidence(ctx, nonce)
	if err == nil && (len(evidence) == 0 || len(evidence) > MaxEvidence) {
		err = fmt.Errorf("e2ee: evidence of %d bytes, at most %d", len(evidence), MaxEvidence)
	}
	return evidence, err
}

// holdEvidence stops sending in a meeting of attested rooms until this room has
// accepted the evidence of every member. A person may remove the room in
// question, or leave.
func (s *Session) holdEvidence(e *Epoch) {
	doubtful := func(m Member) bool { return m.Leaf != e.Self && !m.Verdict.Tier.Accepted() }
	if e.Mode == AttestedOnly && slices.ContainsFunc(e.Members, doubtful) {
		s.ring.Hold(HoldEvidence)
	} else {
		s.ring.Release(HoldEvidence)
	}
}

// A proof is evidence about this room's leaf, made beside the owner.
type proof struct {
	epoch    uint64
	evidence []byte
	err      error
}

// wantProof plans evidence for the members, if this room gives any.
func (o *owner) wantProof(at time.Time) {
	if o.s.set.Attestation.Attestor != nil {
		o.proveAt = at
	}
}

// prove makes evidence for the members, one at a time: a TPM takes its time.
func (o *owner) prove(ctx context.Context, now time.Time) {
	if o.proving || o.proveAt.IsZero() || now.Before(o.proveAt) {
		return
	}
	o.proving, o.proveAt = true, time.Time{}
	w, self := o.s.witness, o.s.witness.standings[Leaf(o.g.Self())]
	newest := w.fresh[len(w.fresh)-1].freshness
	nonce := w.set.binding(self.leaf, w.group, newest)
	o.wg.Go(func() {
		evidence, err := w.set.prove(ctx, nonce)
		select {
		case o.proofs <- proof{newest.Epoch, evidence, err}:
		case <-o.done:
		}
	})
}

// proved sends the evidence to all members.
func (o *owner) proved(ctx context.Context, p proof) {
	o.proving = false
	if p.err == nil {
		body := binary.BigEndian.AppendUint64([]byte{messageEvidence}, p.epoch)
		var message []byte
		if message, p.err = o.g.Protect(ctx, nil, append(body, p.evidence...)); p.err == nil {
			p.err = o.post(outgoing{message: message})
		}
	}
	if p.err != nil {
		o.s.set.Log.Warn("no evidence for the members", "error", p.err)
		o.wantProof(time.Now().Add(retryProof))
		return
	}
	if o.s.witness.heard(Leaf(o.g.Self()), p.epoch, p.evidence) {
		o.judged()
	}
}

// judged publishes new verdicts.
func (o *owner) judged() {
	e := *o.s.snap.Load()
	e.Members, e.Added = slices.Clone(e.Members), slices.Clone(e.Added)
	o.s.witness.tell(&e)
	o.s.holdEvidence(&e)
	o.s.snap.Store(&e)
	o.s.set.Observer.Verdicts(e)
}
