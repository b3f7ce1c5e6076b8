// SPDX-License-Identifier: Apache-2.0

package e2ee_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"incamera/media/e2ee"
	"incamera/media/e2ee/e2eetest"
	"incamera/media/frame"
	"incamera/media/mls"
)

// A site is the CA of an organisation.
type site struct {
	name string
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newSite(tb testing.TB, name string) *site {
	tb.Helper()
	s := &site{name: name, key: newKey(tb)}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: name + " CA", Organization: []string{name}},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(1000 * time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	s.cert = s.sign(tb, template, s.key, template)
	return s
}

func newKey(tb testing.TB) *ecdsa.PrivateKey {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

// template is the certificate of a room, to be changed by tests.
func (s *site) template(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: name, Organization: []string{s.name}},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(100 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
}

func (s *site) sign(tb testing.TB, template *x509.Certificate, key *ecdsa.PrivateKey, parent *x509.Certificate) *x509.Certificate {
	tb.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, s.key)
	if err != nil {
		tb.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return cert
}

// config is that of a room with a certificate of the site, and without a
// Delivery.
func (s *site) config(tb testing.TB, template *x509.Certificate, key *ecdsa.PrivateKey) e2ee.Config {
	tb.Helper()
	signer, err := mls.SignerFrom(key)
	if err != nil {
		tb.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(s.cert)
	return e2ee.Config{
		Signer: signer, Chain: [][]byte{s.sign(tb, template, key, s.cert).Raw}, Sites: pool,
		Observer: &observer{}, Delivery: nowhere{}, Rotation: -1,
	}
}

// nowhere delivers nothing.
type nowhere struct{}

func (nowhere) Commit(ctx context.Context, _ uint64, _ []byte, _ []e2ee.Welcome) error {
	<-ctx.Done()
	return context.Cause(ctx)
}
func (nowhere) Send(context.Context, []byte) error { return nil }

// observer remembers what it hears.
type observer struct {
	mu       sync.Mutex
	epochs   []e2ee.Epoch
	verdicts []e2ee.Epoch
	codes    map[uint64]string
	messages []string
	hook     func(e2ee.Epoch)
}

func (o *observer) Epoch(e e2ee.Epoch) {
	o.mu.Lock()
	o.epochs = append(o.epochs, e)
	hook := o.hook
	o.mu.Unlock()
	if hook != nil {
		hook(e)
	}
}

func (o *observer) Verdicts(e e2ee.Epoch) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.verdicts = append(o.verdicts, e)
}

func (o *observer) Code(epoch uint64, code string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.codes == nil {
		o.codes = map[uint64]string{}
	}
	o.codes[epoch] = code
}

func (o *observer) Message(from e2ee.Member, payload []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.messages = append(o.messages, from.Name+": "+string(payload))
}

func (o *observer) code(epoch uint64) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.codes[epoch]
}

func (o *observer) heard() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.messages)
}

func (o *observer) last() e2ee.Epoch {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.epochs[len(o.epochs)-1]
}

// A meeting is an honest relay in memory: one log, one commit for each epoch,
// each room reads the log in order. Tests make it dishonest with filter.
type meeting struct {
	tb   testing.TB
	ctx  context.Context
	site *site

	mu    sync.Mutex
	rooms map[string]*room
	slots map[uint64][]byte
	// filter sees every entry of the log for each reader, and returns false to
	// withhold it.
	filter func(to string, message []byte) bool
	log    [][]byte
}

// A room is a member of the meeting, or wants to be.
type room struct {
	m        *meeting
	name     string
	key      *ecdsa.PrivateKey
	config   e2ee.Config
	observer *observer
	joiner   *e2ee.Joiner
	welcomed func([]byte) // instead of joiner
	session  *e2ee.Session
	inbox    chan []byte // the log, as this room reads it
	ran      chan error  // what Run returned
	stop     context.CancelFunc

	box       *e2eetest.Box // nil: the room proves nothing
	appraiser *e2eetest.Appraiser

	delay   time.Duration // between an entry of the log and its arrival
	refused []error       // what Deliver returned; guarded by m.mu
	// commit stands in for the relay, if a test sets it.
	commit func(epoch uint64, commit []byte, welcomes []e2ee.Welcome) error
}

// newMeeting makes a meeting that ends with the test. It belongs into a bubble.
func newMeeting(tb testing.TB) *meeting {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	m := &meeting{tb: tb, ctx: ctx, site: newSite(tb, "Paris"), rooms: map[string]*room{}, slots: map[uint64][]byte{}}
	tb.Cleanup(func() {
		cancel()
		for _, r := range m.rooms {
			if r.session != nil {
				<-r.ran
			}
		}
	})
	return m
}

// newRoom makes a room of the meeting's site with a new key.
func (m *meeting) newRoom(name string) *room {
	m.tb.Helper()
	return m.roomWith(name, newKey(m.tb))
}

func (m *meeting) roomWith(name string, key *ecdsa.PrivateKey) *room {
	m.tb.Helper()
	r := &room{m: m, name: name, key: key, observer: &observer{}, inbox: make(chan []byte, 1000)}
	r.config = m.site.config(m.tb, m.site.template(name), key)
	r.config.Observer, r.config.Delivery = r.observer, r
	return r
}

// create opens the meeting with one room.
func (m *meeting) create(name string) *room {
	m.tb.Helper()
	r := m.newRoom(name)
	s, err := e2ee.Create(m.ctx, r.config, []byte("meeting"))
	if err != nil {
		m.tb.Fatal(err)
	}
	m.enter(r, s)
	return r
}

// knock makes a KeyPackage of a room, which then waits for its Welcome.
func (m *meeting) knock(r *room) []byte {
	m.tb.Helper()
	j, err := e2ee.NewJoiner(m.ctx, r.config, m.handle())
	if err != nil {
		m.tb.Fatal(err)
	}
	r.joiner = j
	m.mu.Lock()
	m.rooms[r.name] = r
	m.mu.Unlock()
	return j.KeyPackage()
}

// handle is what the relay of the meeting hands to newcomers: what any member
// stated last. The tests' members state it at once.
func (m *meeting) handle() []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	var newest e2ee.Epoch
	for _, r := range m.rooms {
		if r.session == nil {
			continue
		}
		if e := r.session.Epoch(); e.Number >= newest.Number && !e.SelfRemoved {
			newest = e
		}
	}
	if newest.Members == nil {
		return nil
	}
	return newest.Handle()
}

// admit lets r in through a member, and waits until all is quiet.
func (m *meeting) admit(by, r *room) {
	m.tb.Helper()
	if err := by.session.Add(m.ctx, r.name, m.knock(r)); err != nil {
		m.tb.Fatalf("%s adds %s: %v", by.name, r.name, err)
	}
	synctest.Wait()
	if r.session == nil {
		m.tb.Fatalf("%s got no Welcome", r.name)
	}
}

// gather makes a meeting of the named rooms.
func (m *meeting) gather(names ...string) []*room {
	m.tb.Helper()
	rooms := []*room{m.create(names[0])}
	for _, name := range names[1:] {
		r := m.newRoom(name)
		m.admit(rooms[0], r)
		rooms = append(rooms, r)
	}
	return rooms
}

// enter starts the session of a room and its reading of the log.
func (m *meeting) enter(r *room, s *e2ee.Session) {
	ctx, cancel := context.WithCancel(m.ctx)
	r.session, r.stop, r.ran = s, cancel, make(chan error, 1)
	m.rooms[r.name] = r
	read := make(chan struct{})
	go func() {
		defer close(read)
		r.read(ctx)
	}()
	go func() {
		err := s.Run(ctx)
		cancel()
		<-read
		r.ran <- err
	}()
}

func (r *room) read(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case message := <-r.inbox:
			if r.delay > 0 {
				select {
				case <-time.After(r.delay):
				case <-ctx.Done():
					return
				}
			}
			if err := r.session.Deliver(ctx, message); err != nil && ctx.Err() == nil {
				r.m.mu.Lock()
				r.refused = append(r.refused, err)
				r.m.mu.Unlock()
			}
		}
	}
}

// refusals returns what the room refused of the log.
func (r *room) refusals() []error {
	r.m.mu.Lock()
	defer r.m.mu.Unlock()
	return slices.Clone(r.refused)
}

// Commit implements [e2ee.Delivery].
func (r *room) Commit(_ context.Context, epoch uint64, commit []byte, welcomes []e2ee.Welcome) error {
	if r.commit != nil {
		return r.commit(epoch, commit, welcomes)
	}
	return r.m.take(epoch, commit, welcomes)
}

// take is the honest relay: the first commit of an epoch holds its slot.
func (m *meeting) take(epoch uint64, commit []byte, welcomes []e2ee.Welcome) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if held, ok := m.slots[epoch]; ok {
		if bytes.Equal(held, commit) {
			return nil
		}
		return fmt.Errorf("relay: %w", e2ee.ErrStale)
	}
	m.slots[epoch] = bytes.Clone(commit)
	m.append(commit)
	for _, w := range welcomes {
		to := m.rooms[w.To]
		if to.welcomed != nil {
			to.welcomed(bytes.Clone(w.Message))
			continue
		}
		s, err := to.joiner.Join(m.ctx, w.Message)
		if err != nil && m.ctx.Err() != nil {
			return context.Cause(m.ctx) // the test is over, and a session still at work
		}
		if err != nil {
			m.tb.Errorf("%s cannot join: %v", w.To, err)
			continue
		}
		m.enter(to, s)
	}
	return nil
}

// Send implements [e2ee.Delivery].
func (r *room) Send(_ context.Context, message []byte) error {
	r.m.mu.Lock()
	defer r.m.mu.Unlock()
	r.m.append(message)
	return nil
}

// append adds an entry to the log. The caller holds m.mu.
func (m *meeting) append(message []byte) {
	m.log = append(m.log, message)
	for _, to := range m.rooms {
		if to.session == nil || m.filter != nil && !m.filter(to.name, message) {
			continue
		}
		to.inbox <- message
	}
}

// inject lets the relay put an entry of its own into the log.
func (m *meeting) inject(message []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.append(message)
}

func (m *meeting) setFilter(f func(to string, message []byte) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.filter = f
}

// seal and open go through the keyring as the media path does.
func (r *room) seal(tb testing.TB) []byte {
	tb.Helper()
	s, err := r.session.Keyring().Seal(nil, &frame.Encoded{Kind: frame.Camera, Data: []byte("a picture of " + r.name)})
	if err != nil {
		tb.Fatalf("%s cannot seal: %v", r.name, err)
	}
	return s.Bytes()
}

func (r *room) open(from *room, wire []byte) error {
	_, err := r.session.Keyring().Open(nil, frame.Camera, from.session.Epoch().Self, wire)
	return err
}

// sealing returns the error of sealing, nil if frames leave the room.
func (r *room) sealing() error {
	_, err := r.session.Keyring().Seal(nil, &frame.Encoded{Kind: frame.Audio, Data: []byte("sound")})
	return err
}

// hearEachOther checks that every room opens every other room's frames.
func hearEachOther(tb testing.TB, rooms ...*room) {
	tb.Helper()
	for _, a := range rooms {
		wire := a.seal(tb)
		for _, b := range rooms {
			if a != b {
				if err := b.open(a, wire); err != nil {
					tb.Errorf("%s does not hear %s: %v", b.name, a.name, err)
				}
			}
		}
	}
}

// agree checks that all rooms are in one epoch with one roster and one code.
func agree(tb testing.TB, rooms ...*room) {
	tb.Helper()
	want := rooms[0].session.Epoch()
	code := rooms[0].observer.code(want.Number)
	if len(code) != 30 {
		tb.Errorf("code of epoch %d is %q, want 30 digits", want.Number, code)
	}
	for _, r := range rooms[1:] {
		e := r.session.Epoch()
		if e.Number != want.Number || !slices.Equal(names(e.Members), names(want.Members)) {
			tb.Errorf("%s is in epoch %d with %v; %s in epoch %d with %v",
				r.name, e.Number, names(e.Members), rooms[0].name, want.Number, names(want.Members))
		}
		if got := r.observer.code(e.Number); got != code {
			tb.Errorf("%s shows code %q, %s shows %q", r.name, got, rooms[0].name, code)
		}
	}
}

func names(members []e2ee.Member) []string {
	var out []string
	for _, m := range members {
		out = append(out, m.Name)
	}
	return out
}

// settle waits until changeovers are over.
func settle() {
	synctest.Wait()
	time.Sleep(3 * time.Second)
	synctest.Wait()
}
