// SPDX-License-Identifier: Apache-2.0

package client

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"time"

	"github.com/google/go-tpm/tpm2"

	"incamera/secureboot/attest"
	"incamera/secureboot/enrol"
	"incamera/secureboot/evidence"
)

// A SigningKey is a key in the TPM: [incamera/secureboot/seal.SigningKey].
type SigningKey interface {
	attest.Key
	crypto.Signer
}

// A Room is what a box has to enrol with. Attest.LDevID is Identity.
type Room struct {
	Attest   *attest.Room
	SRKName  []byte
	Identity SigningKey // LDevID
	Leaf     SigningKey
	Serial   string
	EKChain  [][]byte // DER, the EK's own first; nil if the chip has none
	Soft     bool     // the TPM is a program
}

// A Ticket lets a box begin: a code or a voucher.
type Ticket struct {
	Code    string
	Voucher []byte
}

// ErrWaiting means that the room has proved itself and waits for staff to admit
// it. [Member.Join] again later goes on from there, also after a restart.
var ErrWaiting = errors.New("client: waits for staff to admit the room")

// ErrRefused means that the verifier's verdict on the first evidence refuses the
// room. Nothing is left of the enrolment.
var ErrRefused = errors.New("client: the verifier refused the room's evidence")

// A Refusal wraps [ErrRefused]. Result is the verdict, which says why.
type Refusal struct{ Result []byte }

func (*Refusal) Error() string { return ErrRefused.Error() }

// Unwrap returns [ErrRefused].
func (*Refusal) Unwrap() error { return ErrRefused }

// A Member is a room's side of a site: it joins, and keeps its certificates
// fresh. Identity is at Path; a journal lies beside it while an enrolment is
// under way.
type Member struct {
	Room     Room
	Path     string
	Verifier string   // https://host:port
	Key      [32]byte // SHA-256 of the SPKI of the verifier's TLS key
}

// A journal is written at the two points from which an enrolment can go on.
type journal struct {
	Version  int       `json:"version"`
	Verifier string    `json:"verifier"`
	Key      string    `json:"verifier_key"`
	Session  string    `json:"session"`
	Secret   []byte    `json:"secret"` // of this enrolment alone; worthless after it
	Identity *Identity `json:"identity,omitempty"`
}

func (m *Member) journalPath() string { return m.Path + ".joining" }

// Join enrols the room, or goes on with an enrolment that was cut short. It
// returns [ErrWaiting] while staff have not admitted the room. An enrolment
// that the verifier has given up is undone here, too, and begun again if there
// is a ticket.
func (m *Member) Join(ctx context.Context, k Ticket) (*Identity, error) {
	c, err := New(m.Verifier, WithKey(m.Key))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	j := new(journal)
	err = readJSON(m.journalPath(), j, &j.Version)
	switch {
	case err == nil && j.Verifier == m.Verifier && j.Key == hex.EncodeToString(m.Key[:]):
		id, err := m.resume(ctx, c, j)
		if p, ok := errors.AsType[*Problem](err); !ok || p.Status != http.StatusNotFound && p.Status != http.StatusForbidden && p.Status != http.StatusConflict {
			return id, err
		}
		// The verifier knows nothing of it any more.
		if err := m.Abandon(); err != nil {
			return nil, err
		}
		if k.Code == "" && len(k.Voucher) == 0 {
			return nil, err
		}
	case err == nil:
		// Another verifier: what was begun there is left to its deadline.
		if err := m.Abandon(); err != nil {
			return nil, err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	return m.begin(ctx, c, k)
}

// Abandon forgets an enrolment under way. The verifier undoes it by itself. An
// identity from before stays.
func (m *Member) Abandon() error { return remove(m.journalPath()) }

func (m *Member) begin(ctx context.Context, c *Client, k Ticket) (*Identity, error) {
	a := m.Room.Attest
	begun, err := post[enrol.BeginResponse](ctx, c, "/v1/enrol/begin", enrol.BeginRequest{
		Code: k.Code, Voucher: k.Voucher, Serial: m.Room.Serial, EKChain: m.Room.EKChain,
		EK: tpm2.Marshal(a.EK.Public), AK: tpm2.Marshal(a.AK.Public), SRKName: m.Room.SRKName, Soft: m.Room.Soft,
	})
	if err != nil {
		return nil, err
	}
	finish := enrol.FinishRequest{Session: begun.Session}
	if finish.Secret, err = Activate(ctx, a.TPM, a.EK, a.AK, begun.Credential, begun.Secret); err != nil {
		return nil, err
	}
	if finish.Identity, err = m.prove(ctx, m.Room.Identity, enrol.UseIdentity, begun.Nonce); err != nil {
		return nil, err
	}
	if finish.Leaf, err = m.prove(ctx, m.Room.Leaf, enrol.UseLeaf, begun.Nonce); err != nil {
		return nil, err
	}
	if finish.Evidence, err = a.Evidence(ctx, attest.Statement{Nonce: begun.Nonce}); err != nil {
		return nil, err
	}
	// From here on the verifier may have taken the room in: the journal is
	// there before the request, or a cut would leave it without a way back.
	j := &journal{
		Version: formatVersion, Verifier: m.Verifier, Key: hex.EncodeToString(m.Key[:]),
		Session: begun.Session, Secret: finish.Secret,
	}
	if err := writeJSON(m.journalPath(), j); err != nil {
		return nil, err
	}
	rsp, err := post[enrol.FinishResponse](ctx, c, "/v1/enrol/finish", finish)
	if err != nil {
		if p, ok := errors.AsType[*Problem](err); ok && p.Status/100 == 4 {
			err = errors.Join(err, m.Abandon()) // refused; after anything else, ask again
		}
		return nil, err
	}
	return m.collect(ctx, c, j, rsp)
}

// prove asks for a certificate for a key, with the AK's word that it lies here.
func (m *Member) prove(ctx context.Context, key SigningKey, use string, nonce []byte) (*enrol.KeyProof, error) {
	data := enrol.ProofData(nonce, use)
	certify, err := attest.Certify(ctx, m.Room.Attest.AK, key, data[:])
	if err != nil {
		return nil, err
	}
	csr, err := request(key)
	if err != nil {
		return nil, err
	}
	return &enrol.KeyProof{CSR: csr, Public: certify.Public, Attest: certify.Attest, Signature: certify.Signature}, nil
}

// request makes a certificate request. The names are the verifier's to give.
func request(key crypto.Signer) ([]byte, error) {
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, fmt.Errorf("client: certificate request: %w", err)
	}
	return csr, nil
}

// resume goes on from the journal.
func (m *Member) resume(ctx context.Context, c *Client, j *journal) (*Identity, error) {
	if j.Identity != nil {
		return m.activate(ctx, c, j)
	}
	rsp, err := post[enrol.FinishResponse](ctx, c, "/v1/enrol/finish", enrol.FinishRequest{Session: j.Session, Secret: j.Secret})
	if err != nil {
		return nil, err
	}
	return m.collect(ctx, c, j, rsp)
}

// collect stores certificates beside an identity from before.
func (m *Member) collect(ctx context.Context, c *Client, j *journal, rsp enrol.FinishResponse) (*Identity, error) {
	switch rsp.Status {
	case enrol.Issued:
	case enrol.Waiting:
		return nil, ErrWaiting
	case enrol.Refused:
		return nil, errors.Join(&Refusal{rsp.Result}, m.Abandon())
	default:
		return nil, fmt.Errorf("client: status %.20q", rsp.Status)
	}
	site, err := c.Site(ctx)
	if err != nil {
		return nil, err
	}
	id := &Identity{
		Version: formatVersion, Room: rsp.Room, Name: rsp.Name, Verifier: m.Verifier, VerifierKey: j.Key,
		ResultKey: site.ResultKey, Root: rsp.Root, TLS: rsp.Identity, MLS: rsp.Leaf,
	}
	if err := m.own(id); err != nil {
		return nil, err
	}
	j.Identity = id
	if err := writeJSON(m.journalPath(), j); err != nil {
		return nil, err
	}
	return m.activate(ctx, c, j)
}

// own checks that an identity is for the keys in this TPM.
func (m *Member) own(id *Identity) error {
	if err := id.check(); err != nil {
		return err
	}
	for _, pair := range []struct {
		chain [][]byte
		key   crypto.Signer
	}{{id.TLS, m.Room.Identity}, {id.MLS, m.Room.Leaf}} {
		leaf, err := parseLeaf(pair.chain)
		if err != nil {
			return err
		}
		key, ok := pair.key.Public().(interface{ Equal(crypto.PublicKey) bool })
		if !ok || !key.Equal(leaf.PublicKey) {
			return errors.New("client: the certificate is for another key than this room's")
		}
	}
	return nil
}

// activate acknowledges, then puts the identity in place. A cut between the two
// is followed by another acknowledgement, which does nothing.
func (m *Member) activate(ctx context.Context, c *Client, j *journal) (*Identity, error) {
	if err := m.own(j.Identity); err != nil {
		return nil, err
	}
	if _, err := post[struct{}](ctx, c, "/v1/enrol/acknowledge", enrol.AckRequest{Session: j.Session, Secret: j.Secret}); err != nil {
		return nil, err
	}
	if err := writeJSON(m.Path, j.Identity); err != nil {
		return nil, err
	}
	return j.Identity, m.Abandon()
}

// Due reports whether it is time to renew: half the certificates' life is over.
// While the clock cannot be trusted nothing is due.
func Due(id *Identity, now time.Time) (bool, error) {
	leaf, err := parseLeaf(id.TLS)
	if err != nil {
		return false, err
	}
	return now.After(leaf.NotBefore.Add(leaf.NotAfter.Sub(leaf.NotBefore) / 2)), nil
}

// Attest has fresh evidence of the room appraised and returns the verdict with
// its signed form.
func (m *Member) Attest(ctx context.Context, id *Identity) (*evidence.Result, []byte, error) {
	c, err := m.Client(id)
	if err != nil {
		return nil, nil, err
	}
	defer c.Close()
	return m.attest(ctx, c, id)
}

func (m *Member) attest(ctx context.Context, c *Client, id *Identity) (*evidence.Result, []byte, error) {
	challenge, err := c.Challenge(ctx, enrol.ChallengeRequest{Device: id.Room})
	if err != nil {
		return nil, nil, err
	}
	cmw, err := m.Room.Attest.Evidence(ctx, attest.Statement{Nonce: challenge.Nonce})
	if err != nil {
		return nil, nil, err
	}
	ear, err := c.Appraise(ctx, challenge.Session, cmw)
	if err != nil {
		return nil, nil, err
	}
	result, err := ReadResult(ear, id.ResultKey, challenge.Nonce)
	return result, ear, err
}

// ReadResult verifies a verdict: signed by the verifier, for this nonce.
func ReadResult(ear, resultKey, nonce []byte) (*evidence.Result, error) {
	key, err := x509.ParsePKIXPublicKey(resultKey)
	if err != nil {
		return nil, fmt.Errorf("client: result key: %w", err)
	}
	result, err := evidence.ParseResult(ear, key)
	if err != nil {
		return nil, err
	}
	// A verdict on bytes that could not be read has no nonce.
	if len(result.Nonce) > 0 && !bytes.Equal(result.Nonce, nonce) {
		return nil, errors.New("client: verdict on another challenge")
	}
	return result, nil
}

// Renew shows fresh evidence and replaces the certificates. It returns a
// [Refusal] if the verdict refuses the room.
func (m *Member) Renew(ctx context.Context, id *Identity) (*Identity, error) {
	c, err := m.Client(id)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	result, ear, err := m.attest(ctx, c, id)
	if err != nil {
		return nil, err
	}
	if result.Status == evidence.Contraindicated {
		return nil, &Refusal{ear}
	}
	r := enrol.RenewRequest{Result: ear}
	if r.Identity, err = request(m.Room.Identity); err != nil {
		return nil, err
	}
	if r.Leaf, err = request(m.Room.Leaf); err != nil {
		return nil, err
	}
	if leaf, err := parseLeaf(id.MLS); err != nil {
		return nil, err
	} else if key, ok := m.Room.Leaf.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !key.Equal(leaf.PublicKey) {
		if r.Proof, err = m.prove(ctx, m.Room.Leaf, enrol.UseLeaf, result.Nonce); err != nil {
			return nil, err
		}
	}
	rsp, err := post[enrol.FinishResponse](ctx, c, "/v1/renew", r)
	if err != nil {
		return nil, err
	}
	renewed := *id
	renewed.TLS, renewed.MLS, renewed.Name = rsp.Identity, rsp.Leaf, rsp.Name
	if err := m.own(&renewed); err != nil {
		return nil, err
	}
	return &renewed, writeJSON(m.Path, &renewed)
}

// Client makes a client that shows the room's certificate, which the caller
// closes. The verifier knows the room by it: see [Client.Directory],
// [Client.Bundles] and [Client.Bundle].
func (m *Member) Client(id *Identity) (*Client, error) {
	pin, err := id.pin()
	if err != nil {
		return nil, err
	}
	return New(id.Verifier, WithKey(pin), WithCertificate(tls.Certificate{Certificate: id.TLS, PrivateKey: m.Room.Identity}))
}
