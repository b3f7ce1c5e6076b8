// SPDX-License-Identifier: Apache-2.0

package e2ee_test

import (
	"bytes"
	"crypto/rand"
	"testing"
	"time"

	"github.com/pion/dtls/v3"

	"incamera/media/call"
	"incamera/media/call/calltest"
	"incamera/media/e2ee"
	"incamera/media/peer"
)

// run is the length in bytes of what counts as found: shorter ones could be
// chance.
const run = 16

// TestBlindness records all that the relays and both directions of UDP carry in
// a call, with an SRTP profile that does not encrypt: what an attacker sees who
// owns the network, the relay and the hop. No 16 bytes of any frame, sent or
// not, occur in it, nor does the key of any epoch. The control makes the same
// call with sealing switched off, and finds nearly every frame.
func TestBlindness(t *testing.T) {
	t.Run("sealed", func(t *testing.T) {
		r := record(t, func(*e2ee.Keyring) {})
		if found, first := r.found(); found > 0 {
			t.Errorf("%d of %d frames are in the record in clear, first %x", found, len(r.made), first)
		}
		for _, keys := range r.keys {
			if e2ee.HoldsBaseKey(keys, r.all) {
				t.Error("the key of an epoch is in the record")
			}
		}
		for _, wire := range r.wires {
			// A packet holds 1,100 bytes of a frame: its beginning is whole.
			if !bytes.Contains(r.all, wire[:200]) {
				t.Fatal("a sealed frame that arrived is not in the record: the record has holes or the hop encrypts")
			}
		}
		t.Logf("%d bytes recorded, %d frames made, %d opened", len(r.all), len(r.made), r.opened)
	})
	t.Run("control", func(t *testing.T) {
		r := record(t, e2ee.SealInClear)
		found, _ := r.found()
		if found < len(r.made)/2 {
			t.Errorf("with sealing off, only %d of %d frames are found: the search proves nothing", found, len(r.made))
		}
		t.Logf("%d bytes recorded, %d of %d frames found", len(r.all), found, len(r.made))
	})
	t.Run("control of the key", func(t *testing.T) {
		key, noise := make([]byte, 32), make([]byte, 1000)
		_, _ = rand.Read(key)
		_, _ = rand.Read(noise)
		k := e2ee.NewKeyring()
		if err := k.Install(e2ee.EpochKeys{Epoch: 1, Slots: 2, Leaves: []e2ee.Leaf{0, 1}, BaseKey: key}); err != nil {
			t.Fatal(err)
		}
		if e2ee.HoldsBaseKey(k, noise) || !e2ee.HoldsBaseKey(k, append(noise[:77:77], key...)) {
			t.Error("the search for keys finds them where they are not, or not where they are")
		}
	})
}

type recording struct {
	all    []byte   // everything that left a room, by UDP or through a relay
	made   [][]byte // frames in clear
	wires  [][]byte // sealed frames as they arrived
	keys   []*e2ee.Keyring
	opened int
}

// record holds a call of two rooms for two seconds. alter is called with both
// keyrings once the call is up.
func record(t *testing.T, alter func(*e2ee.Keyring)) recording {
	t.Helper()
	site := calltest.NewSite(t)
	recorder := &calltest.Recorder{}
	var rooms []*calltest.Room
	names := []string{"Vauban", "Curie"}
	for i, ln := range site.Prepare(names...) {
		rooms = append(rooms, site.Start(names[i], ln, calltest.Options{
			Record: recorder,
			Hop: peer.Options{
				Net:          calltest.Record(t, recorder),
				SRTPProfiles: []dtls.SRTPProtectionProfile{dtls.SRTP_NULL_HMAC_SHA1_80},
			},
		}))
	}
	rooms[0].Call(rooms[1])
	var r recording
	for _, room := range rooms {
		keys := room.Media.Keyring()
		alter(keys)
		r.keys = append(r.keys, keys)
	}
	before := len(rooms[0].Media.Made())
	for began := time.Now(); len(rooms[0].Media.Made()) < before+120; time.Sleep(20 * time.Millisecond) {
		if time.Since(began) > 30*time.Second {
			t.Fatal("the camera stands still")
		}
	}
	r.all = recorder.Bytes()
	for _, room := range rooms {
		// The newest frames may still be on their way through the pacer.
		made := room.Media.Made()
		r.made = append(r.made, made[:len(made)-10]...)
		wires := room.Media.Wires()
		r.wires = append(r.wires, wires[:max(len(wires)-10, 0)]...)
		r.opened += room.Media.Opened()
	}
	if len(r.wires) == 0 {
		t.Fatal("nothing arrived: the record shows nothing")
	}
	for _, room := range rooms {
		if err := room.Leave(t.Context(), room.Status().CallID); err != nil && room.Status().State != call.Idle {
			t.Error(err)
		}
	}
	return r
}

// found counts the frames of which any 16 bytes in a row are in the record.
func (r recording) found() (n int, first []byte) {
	type window [run]byte
	in := make(map[window]struct{}, len(r.all))
	for i := 0; i+run <= len(r.all); i++ {
		in[window(r.all[i:])] = struct{}{}
	}
	for _, frame := range r.made {
		for i := 0; i+run <= len(frame); i++ {
			if _, ok := in[window(frame[i:])]; ok {
				if n++; first == nil {
					first = frame[i : i+run]
				}
				break
			}
		}
	}
	return n, first
}
