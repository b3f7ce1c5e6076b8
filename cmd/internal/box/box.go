// SPDX-License-Identifier: Apache-2.0

// Package box opens the TPM of a provisioned room, with what the running release
// brings for it to judge. The daemon and the operator's tool share it.
package box

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"incamera/secureboot/attest"
	"incamera/secureboot/enrol/client"
	"incamera/secureboot/eventlog"
	"incamera/secureboot/evidence"
	"incamera/secureboot/provision"
	"incamera/secureboot/seal"
	"incamera/secureboot/tpm"
)

// IdentityFile is what a room keeps of its enrolment, in the folder of its
// identity.
const IdentityFile = "enrolment.json"

// rootGeneration is that of the one root key there is.
const rootGeneration = 1

const (
	maxPolicies = 256 << 10
	maxKey      = 64 << 10
)

// A Config is what must be known of a box with a TPM.
type Config struct {
	Policies string `json:"policies"` // policies.cbor of the running release
	Root     string `json:"root"`     // public half of the release's root key, PEM
	Store    string `json:"store"`    // folder of the blobs that only this TPM opens
	Serial   string `json:"serial"`   // of the box, as on its label

	// Firmware and Phases are the logs of the measured boot.
	Firmware string `json:"firmware_log,omitempty"`
	Phases   string `json:"phase_log,omitempty"`

	// ReleaseFile is where the running image says what it is, and Boots counts
	// its starts: what an update changes is of the image, and not of the room.
	// Where there is no image, the members that follow say it.
	ReleaseFile string `json:"release,omitempty"`
	Boots       string `json:"boots,omitempty"`

	Board     string `json:"board,omitempty"` // as the reference values name it
	Software  string `json:"software,omitempty"`
	Version   string `json:"version,omitempty"`
	BootCount uint64 `json:"boot_count,omitempty"`
}

// Resolve makes the paths relative to a folder.
func (c *Config) Resolve(dir string) {
	for _, p := range []*string{&c.Policies, &c.Root, &c.Store, &c.Firmware, &c.Phases, &c.ReleaseFile, &c.Boots} {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
}

// Release reads what the running release brings, and verifies it.
func (c *Config) Release() (*seal.Policies, seal.RootKey, error) {
	text, err := ReadUpTo(c.Root, maxKey)
	if err != nil {
		return nil, seal.RootKey{}, err
	}
	root, err := parseRoot(text)
	if err != nil {
		return nil, seal.RootKey{}, fmt.Errorf("%s: %w", c.Root, err)
	}
	b, err := ReadUpTo(c.Policies, maxPolicies)
	if err != nil {
		return nil, seal.RootKey{}, err
	}
	policies, err := seal.ParsePolicies(b)
	if err != nil {
		return nil, seal.RootKey{}, err
	}
	return policies, root, policies.Verify(root)
}

func parseRoot(text []byte) (seal.RootKey, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return seal.RootKey{}, errors.New("no key in PEM")
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return seal.RootKey{}, err
	}
	public, ok := key.(*ecdsa.PublicKey)
	if !ok {
		return seal.RootKey{}, errors.New("no elliptic-curve key")
	}
	return seal.RootKey{Generation: rootGeneration, Key: public}, nil
}

// A Box is a provisioned TPM in a system that has started.
type Box struct {
	TPM         *tpm.TPM
	EK, AK, SRK tpm.Key
	LDevID      *seal.SigningKey
	Leaf        *seal.SigningKey
	EKChain     [][]byte // DER; nil if the chip has no certificate
	BootCount   uint64
	// Logs reads the logs of the measured boot.
	Logs func() (firmware, phases []byte, err error)
}

// Provisioned finds what provisioning left in the TPM and in the store, and has
// c say what runs.
func Provisioned(t *tpm.TPM, c *Config) (*Box, error) {
	if err := c.Identify(); err != nil {
		return nil, err
	}
	policies, root, err := c.Release()
	if err != nil {
		return nil, err
	}
	store, err := seal.OpenStore(c.Store)
	if err != nil {
		return nil, err
	}
	defer func() { _ = store.Close() }() // it is only read
	room, err := provision.Open(t, store, root.Generation)
	if err != nil {
		return nil, fmt.Errorf("not provisioned: %w: run roomctl provision", err)
	}
	if !room.Complete {
		return nil, errors.New("provisioning was cut short: roomctl provision goes on with it")
	}
	b := &Box{TPM: t, EK: room.EK, AK: room.AK, SRK: room.SRK, BootCount: c.BootCount, Logs: c.logs}
	if b.LDevID, _, err = store.Key(t, room.SRK, provision.LDevID, policies); err != nil {
		return nil, err
	}
	if b.Leaf, _, err = store.Key(t, room.SRK, provision.Leaf, policies); err != nil {
		return nil, err
	}
	index := tpm.IndexCertP256
	if room.EK.Handle == tpm.HandleEKP384 {
		index = tpm.IndexCertP384
	}
	cert, err := tpm.EKCertificate(t, index)
	switch {
	case err == nil:
		b.EKChain = [][]byte{cert}
	case !errors.Is(err, tpm.ErrAbsent):
		return nil, err
	}
	return b, nil
}

func (c *Config) logs() (firmware, phases []byte, err error) {
	if firmware, err = ReadUpTo(c.Firmware, eventlog.MaxLog); err == nil {
		phases, err = ReadUpTo(c.Phases, eventlog.MaxLog)
	}
	return firmware, phases, err
}

// Room is the box as the site's verifier knows it.
func (b *Box) Room(c *Config) client.Room {
	r := &attest.Room{
		TPM: b.TPM, EK: b.EK, AK: b.AK, LDevID: b.LDevID, Board: c.Board, OEMBoot: true,
		Debug: evidence.DebugDisabledPermanently, BootCount: b.BootCount, Name: c.Software, Version: c.Version, Logs: b.Logs,
	}
	for _, rule := range evidence.DefaultRules() {
		r.PCRs = append(r.PCRs, rule.PCR)
	}
	return client.Room{
		Attest: r, SRKName: b.SRK.Name.Buffer, Identity: b.LDevID, Leaf: b.Leaf,
		Serial: c.Serial, EKChain: b.EKChain, Soft: b.TPM.Soft(),
	}
}

// Chip is the hash by which staff list the box's endorsement key.
func (b *Box) Chip() string {
	sum := sha256.Sum256(b.EK.Name.Buffer)
	return hex.EncodeToString(sum[:])
}

// ReadUpTo reads a file of at most limit bytes.
func ReadUpTo(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%s: larger than %d bytes", path, limit)
	}
	return b, nil
}
