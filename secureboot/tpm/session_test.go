// SPDX-License-Identifier: Apache-2.0

//go:build simtpm && cgo

package tpm_test

import (
	"bytes"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"incamera/secureboot/tpm"
	"incamera/secureboot/tpm/tpmtest"
)

// flipper changes one byte of the next command with the code, or of its
// response.
type flipper struct {
	cc       byte // last byte of the code
	response bool
	at       int  // the byte
	armed    bool // until the byte is flipped
	length   int  // of the last command or response of that kind
}

func (f *flipper) tap(command, response []byte) {
	if command[9] != f.cc || (response != nil) != f.response {
		return
	}
	b := command
	if f.response {
		b = response
	}
	f.length = len(b)
	if f.armed && f.at < len(b) {
		b[f.at] ^= 0x01
		f.armed = false
	}
}

// No single byte on the bus can change in a session without notice, in neither
// direction. The command is GetRandom with its answer encrypted; then Create of
// a sealed object, whose secret goes the other way.
func TestFlippedByte(t *testing.T) {
	commands := []struct {
		name string
		cc   byte
		run  func(chip transport.TPM, srk tpm.Key) error
	}{
		{"GetRandom", 0x7B, func(chip transport.TPM, srk tpm.Key) error {
			_, err := tpm2.GetRandom{BytesRequested: 16}.Execute(chip, tpm.EncryptedSession(srk, tpm.Out))
			return err
		}},
		{"Create", 0x53, func(chip transport.TPM, srk tpm.Key) error {
			// The session authorises, too: in a password beside it the bits
			// that mean nothing could change.
			_, err := tpm2.Create{
				ParentHandle: tpm2.AuthHandle{Handle: srk.Handle, Name: srk.Name, Auth: tpm.EncryptedSession(srk, tpm.In)},
				InSensitive: tpm2.TPM2BSensitiveCreate{Sensitive: &tpm2.TPMSSensitiveCreate{
					Data: tpm2.NewTPMUSensitiveCreate(&tpm2.TPM2BSensitiveData{Buffer: []byte("a secret")}),
				}},
				InPublic: tpm2.New2B(sealedObject),
			}.Execute(chip)
			return err
		}},
	}
	for name, open := range chips {
		for _, c := range commands {
			t.Run(name+"/"+c.name, func(t *testing.T) {
				f := &flipper{cc: c.cc}
				chip := open(t, tpm.WithTap(f.tap))
				srk := persistSRK(t, chip)
				for _, f.response = range []bool{false, true} {
					if err := c.run(chip, srk); err != nil {
						t.Fatal(err)
					}
					length := f.length
					if length < 60 {
						t.Fatalf("%d bytes on the bus; want a session among them", length)
					}
					for f.at = range length {
						f.armed = true
						if err := c.run(chip, srk); err == nil {
							t.Errorf("response %v: byte %d of %d flipped unseen", f.response, f.at, length)
						}
						if f.armed {
							t.Fatalf("byte %d was not flipped", f.at)
						}
						if err := tpm.FlushAll(chip); err != nil {
							t.Fatal(err)
						}
					}
				}
			})
		}
	}
}

// The control of TestFlippedByte: without a session a changed answer is
// believed.
func TestFlippedByteUnseenWithoutSession(t *testing.T) {
	f := &flipper{cc: 0x7B, response: true, at: 14, armed: true}
	chip := tpmtest.Simulator(t, tpm.WithTap(f.tap))
	if _, err := (tpm2.GetRandom{BytesRequested: 16}).Execute(chip); err != nil || f.armed {
		t.Errorf("flipped byte without a session: %v; want it to pass", err)
	}
}

// An interposer cannot take the session away either: a response without one is
// not taken for the response to a command with one.
func TestStrippedSession(t *testing.T) {
	chip := tpmtest.Simulator(t, tpm.WithTap(func(command, response []byte) {
		if response != nil && command[9] == 0x7B {
			copy(response, []byte{0x80, 0x01}) // TPM_ST_NO_SESSIONS
		}
	}))
	srk := persistSRK(t, chip)
	_, err := tpm2.GetRandom{BytesRequested: 16}.Execute(chip, tpm.EncryptedSession(srk, tpm.Out))
	if err == nil {
		t.Error("a response without its session was taken")
	}
}

// What a session encrypts is not on the bus; without one it is.
func TestEncryptedSession(t *testing.T) {
	for _, c := range []struct {
		name      string
		encrypted bool
	}{{"session", true}, {"none", false}} {
		t.Run(c.name, func(t *testing.T) {
			var bus bytes.Buffer
			chip := tpmtest.Simulator(t, tpm.WithTap(func(command, response []byte) {
				bus.Write(command)
				bus.Write(response)
			}))
			srk := persistSRK(t, chip)
			var sessions []tpm2.Session
			if c.encrypted {
				sessions = append(sessions, tpm.EncryptedSession(srk, tpm.Out))
			}
			rsp, err := tpm2.GetRandom{BytesRequested: 32}.Execute(chip, sessions...)
			if err != nil {
				t.Fatal(err)
			}
			if seen := bytes.Contains(bus.Bytes(), rsp.RandomBytes.Buffer); seen == c.encrypted {
				t.Errorf("value seen on the bus: %v; want %v", seen, !c.encrypted)
			}
			tpmtest.Empty(t, chip)
		})
	}
}

var sealedObject = tpm2.TPMTPublic{
	Type:             tpm2.TPMAlgKeyedHash,
	NameAlg:          tpm2.TPMAlgSHA256,
	ObjectAttributes: tpm2.TPMAObject{FixedTPM: true, FixedParent: true, UserWithAuth: true, NoDA: true},
}
