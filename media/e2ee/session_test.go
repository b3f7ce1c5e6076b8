// SPDX-License-Identifier: Apache-2.0

package e2ee_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"incamera/media/e2ee"
	"incamera/media/frame"
	"incamera/media/mls"
)

func TestMeeting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeeting(t)
		rooms := m.gather("Vauban", "Curie", "Monge")
		settle()
		agree(t, rooms...)
		hearEachOther(t, rooms...)
		e := rooms[1].session.Epoch()
		if e.Number != 2 || !e.Hybrid || e.Suite != "MLKEM768P256_AES256GCM_SHA384_P256" {
			t.Errorf("epoch %d, suite %s", e.Number, e.Suite)
		}
		for i, r := range rooms {
			for j, member := range r.session.Epoch().Members {
				if member.Name != rooms[j].name || member.Site != "Paris" || member.Lapsed || len(member.SignatureKey) == 0 || member.Credential == [32]byte{} {
					t.Errorf("%s sees %+v", r.name, member)
				}
				// Who came later was not there to see who came when.
				if want := uint64(j); i < j && member.Since != want || i >= j && member.Since != 0 {
					t.Errorf("%s says that %s is here since %d", r.name, member.Name, member.Since)
				}
			}
		}
		if got := names(rooms[1].observer.last().Added); !slices.Equal(got, []string{"Monge"}) {
			t.Errorf("added %v", got)
		}
		if first := rooms[2].observer.epochs[0]; first.Number != 2 || len(first.Added) != 0 || first.Self != 2 {
			t.Errorf("the newcomer's first epoch: %+v", first)
		}
		if err := rooms[0].session.Run(t.Context()); err == nil {
			t.Error("a second Run began")
		}
	})
}

// TestRun ends sessions at random moments: nothing waits for ever, all keys are
// gone, and the bubble sees that no goroutine is left.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeeting(t)
		rooms := m.gather("Vauban", "Curie")
		rooms[0].commit = func(uint64, []byte, []e2ee.Welcome) error { return nil } // nor does the log show it
		errs := make(chan error, 3)
		go func() { errs <- rooms[0].session.Rotate(t.Context()) }()
		go func() { errs <- rooms[0].session.Rotate(t.Context()) }()
		go func() { errs <- rooms[0].session.Remove(t.Context(), 1) }()
		synctest.Wait()
		rooms[0].stop()
		if err := <-rooms[0].ran; !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v, want %v", err, context.Canceled)
		}
		rooms[0].ran <- nil
		for range 3 {
			if err := <-errs; !errors.Is(err, e2ee.ErrEnded) {
				t.Errorf("a wish after Run: %v, want %v", err, e2ee.ErrEnded)
			}
		}
		s := rooms[0].session
		for name, f := range map[string]func() error{
			"Deliver":   func() error { return s.Deliver(t.Context(), nil) },
			"Rotate":    func() error { return s.Rotate(t.Context()) },
			"Broadcast": func() error { return s.Broadcast(t.Context(), nil) },
			"Remove":    func() error { return s.Remove(t.Context(), 1) },
		} {
			if err := f(); !errors.Is(err, e2ee.ErrEnded) {
				t.Errorf("%s after Run = %v, want %v", name, err, e2ee.ErrEnded)
			}
		}
		if err := rooms[0].sealing(); !errors.Is(err, e2ee.ErrNoKey) {
			t.Errorf("Seal after Run = %v, want %v", err, e2ee.ErrNoKey)
		}
		if err := rooms[0].open(rooms[1], rooms[1].seal(t)); !errors.Is(err, e2ee.ErrRefused) {
			t.Errorf("Open after Run = %v, want %v", err, e2ee.ErrRefused)
		}
	})
}

// TestNotRunning calls the methods of a session that nobody runs.
func TestNotRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		site := newSite(t, "Paris")
		s, err := e2ee.Create(t.Context(), site.config(t, site.template("Vauban"), newKey(t)), []byte("meeting"))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for name, f := range map[string]func() error{
			"Deliver":   func() error { return s.Deliver(ctx, nil) },
			"Rotate":    func() error { return s.Rotate(ctx) },
			"Broadcast": func() error { return s.Broadcast(ctx, nil) },
		} {
			if err := f(); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s = %v, want %v", name, err, context.DeadlineExceeded)
			}
		}
		for _, leaf := range []e2ee.Leaf{0, 1} {
			if err := s.Remove(ctx, leaf); !errors.Is(err, e2ee.ErrPolicy) {
				t.Errorf("Remove(%d), which is this room or nobody: %v, want %v", leaf, err, e2ee.ErrPolicy)
			}
		}
		if s.Keyring().Held() != 0 {
			t.Errorf("held for %q", s.Keyring().Held())
		}
	})
}

// TestRestart lets a room that has lost its state in again: by the same name
// and key it takes its own place, in one commit.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeeting(t)
		rooms := m.gather("Vauban", "Curie", "Monge")
		settle()
		before := rooms[0].session.Epoch().Number
		old := rooms[1]
		old.stop()
		<-old.ran
		again := m.roomWith("Curie", old.key)
		m.admit(rooms[2], again)
		settle()
		all := []*room{rooms[0], again, rooms[2]}
		agree(t, all...)
		hearEachOther(t, all...)
		e := rooms[0].observer.last()
		if e.Number != before+1 || !slices.Equal(names(e.Added), []string{"Curie"}) || !slices.Equal(names(e.Removed), []string{"Curie"}) {
			t.Errorf("epoch %d, %v added, %v removed", e.Number, names(e.Added), names(e.Removed))
		}
		if since := e.Added[0].Since; since != e.Number || rooms[0].session.Epoch().Members[1].Since != e.Number {
			t.Errorf("here since %d, want %d", since, e.Number)
		}
	})
}

// TestAddRejects knocks with what a meeting does not take.
func TestAddRejects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeeting(t)
		rooms := m.gather("Vauban", "Curie")
		paris, elsewhere := m.site, newSite(t, "Elsewhere")
		named := func(change func(*x509.Certificate)) []byte {
			template := paris.template("Monge")
			change(template)
			return bundle(t, raw(t, paris.config(t, template, newKey(t)), e2ee.DefaultSuite)).Message()
		}
		classical := raw(t, m.newRoom("Monge").config, mls.P256AES128GCMSHA256P256)
		basic := raw(t, m.newRoom("Monge").config, e2ee.DefaultSuite)
		basic.Credential = mls.Credential{Type: mls.BasicCredential, Identity: []byte("Monge")}
		good := m.knock(m.newRoom("Monge"))
		for _, tt := range []struct {
			name       string
			keyPackage []byte
			want       error // nil: any
		}{
			{"nothing", nil, nil},
			{"truncated", good[:len(good)-1], nil},
			{"trailing byte", append(slices.Clone(good), 0), nil},
			{"signature changed", flip(good), nil},
			{"unknown site", bundle(t, raw(t, elsewhere.config(t, elsewhere.template("Monge"), newKey(t)), e2ee.DefaultSuite)).Message(), e2ee.ErrIdentity},
			{"basic credential", bundle(t, basic).Message(), e2ee.ErrIdentity},
			{"expired", named(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }), e2ee.ErrIdentity},
			{"not valid yet", named(func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }), e2ee.ErrIdentity},
			{"no name", named(func(c *x509.Certificate) { c.Subject.CommonName = "" }), e2ee.ErrIdentity},
			{"name too long", named(func(c *x509.Certificate) { c.Subject.CommonName = strings.Repeat("é", 32) + "!" }), e2ee.ErrIdentity},
			{"name that turns text around", named(func(c *x509.Certificate) { c.Subject.CommonName = "eiruC\u202e" }), e2ee.ErrIdentity},
			{"name without width", named(func(c *x509.Certificate) { c.Subject.CommonName = "Cu\u200brie" }), e2ee.ErrIdentity},
			{"name with a line feed", named(func(c *x509.Certificate) { c.Subject.CommonName = "Monge\nverified" }), e2ee.ErrIdentity},
			{"name with a space in front", named(func(c *x509.Certificate) { c.Subject.CommonName = " Curie" }), e2ee.ErrIdentity},
			{"no site", named(func(c *x509.Certificate) { c.Subject.Organization = nil }), e2ee.ErrIdentity},
			{"two sites", named(func(c *x509.Certificate) { c.Subject.Organization = []string{"Paris", "London"} }), e2ee.ErrIdentity},
			{"CA", named(func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true }), e2ee.ErrIdentity},
			{"classical suite", bundle(t, classical).Message(), e2ee.ErrClassical},
			{"another member's name", bundle(t, raw(t, m.newRoom("CURIE").config, e2ee.DefaultSuite)).Message(), e2ee.ErrPolicy},
			{"this room's name", bundle(t, raw(t, m.newRoom("Vauban").config, e2ee.DefaultSuite)).Message(), e2ee.ErrPolicy},
			{"this room's name and key", bundle(t, raw(t, m.roomWith("Vauban", rooms[0].key).config, e2ee.DefaultSuite)).Message(), e2ee.ErrPolicy},
			{"another member's key", bundle(t, raw(t, m.roomWith("Monge", rooms[1].key).config, e2ee.DefaultSuite)).Message(), e2ee.ErrPolicy},
		} {
			before := rooms[0].snapshot()
			err := rooms[0].session.Add(t.Context(), "Monge", tt.keyPackage)
			if err == nil || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
			}
			if after := rooms[0].snapshot(); !before.equal(after) {
				t.Errorf("%s: changed %v to %v", tt.name, before, after)
			}
			candidate, err := e2ee.ParseCandidate(rooms[0].config, tt.keyPackage)
			if !errors.Is(tt.want, e2ee.ErrPolicy) && err == nil {
				t.Errorf("%s is a candidate: %+v", tt.name, candidate)
			}
		}
		who, err := e2ee.ParseCandidate(rooms[0].config, good)
		if err != nil || who.Name != "Monge" || who.Site != "Paris" || who.Lapsed {
			t.Errorf("candidate %+v, %v", who, err)
		}
		if err := rooms[0].session.Add(t.Context(), "Monge", good); err != nil {
			t.Errorf("the good one, in the end: %v", err)
		}
		if err := rooms[1].session.Add(t.Context(), "Monge", good); err != nil {
			t.Errorf("the same once more, by another member: %v", err)
		}
		if got := rooms[1].session.Epoch().Number; got != 2 {
			t.Errorf("epoch %d: a room was added twice", got)
		}
	})
}

// TestNames takes names from where certificates may have them.
func TestNames(t *testing.T) {
	site := newSite(t, "Paris")
	for _, tt := range []struct {
		subject pkix.Name
		dns     []string
		want    string
	}{
		{pkix.Name{CommonName: "Salle Marie Curie", Organization: []string{"Paris"}}, nil, "Salle Marie Curie"},
		{pkix.Name{Organization: []string{"Paris"}}, []string{"curie.paris.example", "other"}, "curie.paris.example"},
		{pkix.Name{CommonName: strings.Repeat("é", 32), Organization: []string{"Paris"}}, nil, strings.Repeat("é", 32)},
	} {
		template := site.template("")
		template.Subject, template.DNSNames = tt.subject, tt.dns
		c := site.config(t, template, newKey(t))
		got, err := e2ee.ParseCandidate(c, bundle(t, raw(t, c, e2ee.DefaultSuite)).Message())
		if err != nil || got.Name != tt.want || got.Site != "Paris" {
			t.Errorf("%v, %q: %q of %q, %v", tt.subject, tt.dns, got.Name, got.Site, err)
		}
	}
}

// TestLapsed has another room let in a room whose certificate has expired by
// this room's clock: it follows, since it must not fork, but sends nothing
// until its person has answered.
func TestLapsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeeting(t)
		rooms := m.gather("Vauban", "Curie")
		vauban, curie := rooms[0], rooms[1]
		monge := m.newRoom("Monge")
		var wrong atomic.Bool // Monge's clock jumps after it has knocked
		monge.config.Now = func() time.Time {
			if wrong.Load() {
				return time.Now().Add(200 * time.Hour)
			}
			return time.Now()
		}
		kp := m.knock(monge)
		wrong.Store(true)
		if err := vauban.session.Add(t.Context(), "Monge", kp); err != nil {
			t.Fatal(err)
		}
		settle()
		if got := monge.session.Keyring().Held(); got != e2ee.HoldQuestion {
			t.Errorf("the newcomer with the wrong clock is held for %q", got)
		}
		for _, member := range monge.session.Epoch().Members {
			if !member.Lapsed {
				t.Errorf("%s has not lapsed by the wrong clock", member.Name)
			}
		}
		ampere := m.newRoom("Ampère")
		monge.session.Keyring().Release(e2ee.HoldQuestion)
		hearEachOther(t, vauban, curie, monge)
		m.admit(curie, ampere)
		settle()
		if got := monge.session.Keyring().Held(); got != e2ee.HoldQuestion {
			t.Errorf("after another room came in: held for %q", got)
		}
		if err := monge.session.Add(t.Context(), "Noether", m.knock(m.newRoom("Noether"))); !errors.Is(err, e2ee.ErrIdentity) {
			t.Errorf("letting in a lapsed room: %v, want %v", err, e2ee.ErrIdentity)
		}
		agree(t, vauban, curie, monge, ampere)
	})
}

// TestNoClassicalFallback asks for a suite without a post-quantum half, or
// offers one.
func TestNoClassicalFallback(t *testing.T) {
	site := newSite(t, "Paris")
	c := site.config(t, site.template("Vauban"), newKey(t))
	hybrid := bundle(t, raw(t, c, e2ee.DefaultSuite)).Message()
	c.Suite = mls.P256AES128GCMSHA256P256
	classical := bundle(t, raw(t, c, c.Suite)).Message()
	if _, err := e2ee.Create(t.Context(), c, []byte("meeting")); !errors.Is(err, e2ee.ErrClassical) {
		t.Errorf("Create = %v, want %v", err, e2ee.ErrClassical)
	}
	if _, err := e2ee.NewJoiner(t.Context(), c, nil); !errors.Is(err, e2ee.ErrClassical) {
		t.Errorf("NewJoiner = %v, want %v", err, e2ee.ErrClassical)
	}
	if _, err := e2ee.ParseCandidate(c, classical); !errors.Is(err, e2ee.ErrClassical) {
		t.Errorf("ParseCandidate = %v, want %v", err, e2ee.ErrClassical)
	}
	c.Suite = 0
	if _, err := e2ee.ParseCandidate(c, classical); !errors.Is(err, e2ee.ErrClassical) {
		t.Errorf("a classical KeyPackage: %v, want %v", err, e2ee.ErrClassical)
	}
	if _, err := e2ee.ParseCandidate(c, hybrid); err != nil {
		t.Errorf("a hybrid KeyPackage: %v", err)
	}
	c.Suite, c.AllowClassical = mls.P256AES128GCMSHA256P256, true
	if _, err := e2ee.ParseCandidate(c, classical); err != nil {
		t.Errorf("where the configuration takes it: %v", err)
	}
	if s, err := e2ee.Create(t.Context(), c, []byte("meeting")); err != nil || s.Epoch().Hybrid {
		t.Errorf("where the configuration takes it: %v", err)
	}
}

func TestConfigRejects(t *testing.T) {
	site := newSite(t, "Paris")
	for _, tt := range []struct {
		name   string
		change func(*e2ee.Config)
	}{
		{"no signer", func(c *e2ee.Config) { c.Signer = nil }},
		{"no certificate", func(c *e2ee.Config) { c.Chain = nil }},
		{"no CAs", func(c *e2ee.Config) { c.Sites = nil }},
		{"no delivery", func(c *e2ee.Config) { c.Delivery = nil }},
		{"no observer", func(c *e2ee.Config) { c.Observer = nil }},
		{"no such suite", func(c *e2ee.Config) { c.Suite = 4 }},
		{"certificate of another key", func(c *e2ee.Config) {
			c.Chain = site.config(t, site.template("Vauban"), newKey(t)).Chain
		}},
		{"certificate of another site", func(c *e2ee.Config) { c.Sites = x509.NewCertPool() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := site.config(t, site.template("Vauban"), newKey(t))
			tt.change(&c)
			if _, err := e2ee.Create(t.Context(), c, []byte("meeting")); err == nil {
				t.Error("Create took it")
			}
		})
	}
}

// TestJoinRejects gives a joiner Welcomes that are not for it, or altered.
func TestJoinRejects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeeting(t)
		vauban := m.create("Vauban")
		curie := m.newRoom("Curie")
		var welcome []byte
		curie.welcomed = func(w []byte) { welcome = w }
		if err := vauban.session.Add(t.Context(), "Curie", m.knock(curie)); err != nil {
			t.Fatal(err)
		}
		other, err := e2ee.NewJoiner(t.Context(), m.newRoom("Monge").config, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer other.Destroy()
		for name, j := range map[string]func() (*e2ee.Session, error){
			"somebody else's": func() (*e2ee.Session, error) { return other.Join(t.Context(), welcome) },
			"altered":         func() (*e2ee.Session, error) { return curie.joiner.Join(t.Context(), flip(welcome)) },
			"none":            func() (*e2ee.Session, error) { return curie.joiner.Join(t.Context(), nil) },
		} {
			if _, err := j(); err == nil {
				t.Errorf("joined by a Welcome that is %s", name)
			}
		}
		if _, err := curie.joiner.Join(t.Context(), welcome); err != nil {
			t.Errorf("the Welcome itself: %v", err)
		}
		curie.joiner.Destroy()
		curie.joiner.Destroy()
	})
}

// TestPairwiseCode compares what two rooms compute.
func TestPairwiseCode(t *testing.T) {
	a := e2ee.Member{Name: "Vauban", SignatureKey: bytes.Repeat([]byte{1}, 65)}
	b := e2ee.Member{Name: "Curie", SignatureKey: bytes.Repeat([]byte{2}, 65)}
	x, err := e2ee.PairwiseCode(a, b)
	if err != nil {
		t.Fatal(err)
	}
	y, err := e2ee.PairwiseCode(b, a)
	if err != nil {
		t.Fatal(err)
	}
	if x != y || len(x) != 45 || strings.Trim(x, "0123456789") != "" {
		t.Errorf("PairwiseCode = %q and %q, want one code of 45 digits", x, y)
	}
	// By another implementation of PBKDF2 and SHA-256.
	if want := "492375648576089360349447780957893007810016547"; x != want {
		t.Errorf("PairwiseCode = %s; want %s", x, want)
	}
	b.SignatureKey[0]++
	if z, err := e2ee.PairwiseCode(a, b); err != nil || z == x {
		t.Errorf("another key has the same code %q, %v", z, err)
	}
}

// TestSecurityCode has the code of an epoch by another implementation.
func TestSecurityCode(t *testing.T) {
	authenticator := make([]byte, 48)
	for i := range authenticator {
		authenticator[i] = byte(i)
	}
	const want = "445548326602943308193613427582"
	if got, err := e2ee.SecurityCode(authenticator, []byte("meeting")); err != nil || got != want {
		t.Errorf("code = %s, %v; want %s", got, err, want)
	}
}

// TestRandomSchedule runs random wishes of random members over a log of random
// delay against a plain model of who is in.
func TestRandomSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		rng := rand.New(rand.NewPCG(seed, 0))
		m := newMeeting(t)
		in := m.gather("room 0", "room 1")
		next := 2
		for range 12 {
			for _, r := range in {
				r.delay = time.Duration(rng.IntN(200)) * time.Millisecond
			}
			var wg sync.WaitGroup
			wish := func(f func() error) {
				wg.Go(func() {
					if err := f(); err != nil && !errors.Is(err, e2ee.ErrEnded) {
						t.Error(err)
					}
				})
			}
			var out *room
			if len(in) > 3 && rng.IntN(2) == 0 {
				i := rng.IntN(len(in))
				out = in[i]
				in = slices.Delete(slices.Clone(in), i, i+1)
				for _, by := range in[:1+rng.IntN(2)] {
					wish(func() error { return by.session.Remove(t.Context(), out.session.Epoch().Self) })
				}
			}
			by := in[rng.IntN(len(in))]
			if len(in) < 6 && rng.IntN(3) > 0 {
				r := m.newRoom(fmt.Sprintf("room %d", next))
				next++
				kp := m.knock(r)
				wish(func() error { return by.session.Add(t.Context(), r.name, kp) })
				in = append(slices.Clone(in), r)
			}
			if rng.IntN(2) == 0 {
				wish(func() error { return by.session.Rotate(t.Context()) })
			}
			wg.Wait()
			settle()
			agree(t, in...)
			hearEachOther(t, in...)
			want := make([]string, 0, len(in))
			for _, r := range in {
				want = append(want, r.name)
			}
			got := names(in[0].session.Epoch().Members)
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("members %v, want %v", got, want)
			}
			if out != nil {
				if err := <-out.ran; !errors.Is(err, e2ee.ErrRemoved) {
					t.Errorf("%s was removed, and Run returned %v", out.name, err)
				}
				out.ran <- nil
			}
			if t.Failed() {
				return
			}
		}
	})
}

// TestSealInClear shows that the control of tests for blindness is one: what it
// seals has the frame in it.
func TestSealInClear(t *testing.T) {
	k := e2ee.NewKeyring()
	if err := k.Install(e2ee.EpochKeys{Slots: 2, Leaves: []e2ee.Leaf{0, 1}, BaseKey: make([]byte, 32)}); err != nil {
		t.Fatal(err)
	}
	if err := k.SendWith(0); err != nil {
		t.Fatal(err)
	}
	f := &frame.Encoded{Kind: frame.Camera, Data: []byte("a picture in clear")}
	for _, clear := range []bool{false, true} {
		if clear {
			e2ee.SealInClear(k)
		}
		s, err := k.Seal(nil, f)
		if err != nil {
			t.Fatal(err)
		}
		if got := bytes.Contains(s.Bytes(), f.Data[1:]); got != clear {
			t.Errorf("frame found on the wire: %v, want %v", got, clear)
		}
	}
}

// TestSiteIsOfItsCA: the CA of a known site vouches for no room of another one.
func TestSiteIsOfItsCA(t *testing.T) {
	paris := newSite(t, "Paris")
	template := paris.template("Vauban")
	template.Subject.Organization = []string{"London"}
	c := paris.config(t, template, newKey(t))
	if got, err := e2ee.ParseCandidate(c, bundle(t, raw(t, c, e2ee.DefaultSuite)).Message()); !errors.Is(err, e2ee.ErrIdentity) {
		t.Errorf("a room of Paris that says it is of London: %+v, %v", got, err)
	}
}
