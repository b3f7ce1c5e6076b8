// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/fxamacker/cbor/v2"
	"github.com/veraison/go-cose"
)

// Keys of measurement-values-map that we use (draft-ietf-rats-corim-10,
// Section 5.1.4.5), and that of the protected header for corim-meta.
const (
	valueVersion = 0
	valueSVN     = 1
	valueDigests = 2
	valueRaw     = 4
	valueName    = 11
	headerMeta   = int64(8)
)

// vendor stands in the environment of every reference triple.
const vendor = "In Camera"

type wireDigest struct {
	_         struct{} `cbor:",toarray"`
	Algorithm int
	Value     Digest
}

type wireCoRIMVersion struct {
	Version string `cbor:"0,keyasint"`
	Scheme  int    `cbor:"1,keyasint"`
}

type wireEnvironment struct {
	Class struct {
		Vendor string `cbor:"1,keyasint"`
		Model  string `cbor:"2,keyasint"`
	} `cbor:"0,keyasint"`
}

type wireRule struct {
	_    struct{} `cbor:",toarray"`
	PCR  int
	Word Word
}

type wireProfile struct {
	Rules      []wireRule `cbor:"1,keyasint"`
	FirstStage string     `cbor:"2,keyasint"`
	VerifiedBy string     `cbor:"3,keyasint"`
}

// SignReferences returns r as a signed CoRIM. The key is the bundle key, ECDSA
// on P-256.
func SignReferences(r ReferenceValues, key crypto.Signer) ([]byte, error) {
	payload, err := r.corim()
	if err != nil {
		return nil, err
	}
	header, err := referenceHeader()
	if err != nil {
		return nil, err
	}
	signed, err := sign(payload, header, key)
	if err == nil && len(signed) > MaxReferences {
		err = ErrTooLarge
	}
	return signed, err
}

// ParseReferences verifies and decodes a signed CoRIM. It returns an error that
// wraps [ErrTooLarge], [ErrMalformed] or [ErrSignature].
func ParseReferences(b []byte, key crypto.PublicKey) (*ReferenceValues, error) {
	s, err := parseSign1(b, MaxReferences)
	if err != nil {
		return nil, err
	}
	if err := s.verify(key); err != nil {
		return nil, err
	}
	want, err := referenceHeader()
	if err != nil {
		return nil, err
	}
	want.SetAlgorithm(cose.AlgorithmES256)
	if header, err := want.MarshalCBOR(); err != nil || !bytes.Equal(header, s.message.Headers.RawProtected) {
		return nil, fmt.Errorf("%w: protected header of a CoRIM", ErrMalformed)
	}
	return parseCoRIM(s.message.Payload)
}

// referenceHeader has the content type and corim-meta (Section 4.2.2).
func referenceHeader() (cose.ProtectedHeader, error) {
	type signer struct {
		Name string `cbor:"0,keyasint"`
	}
	meta, err := encode(struct {
		Signer signer `cbor:"0,keyasint"`
	}{signer{vendor + " release"}})
	if err != nil {
		return nil, err
	}
	return cose.ProtectedHeader{cose.HeaderLabelContentType: mediaRIM, headerMeta: meta}, nil
}

// identity names the document: equal for equal contents' board and version.
func (r *ReferenceValues) identity() string { return r.Board + "/" + r.Version }

// corim returns r as an unsigned, tagged CoRIM with one CoMID.
func (r *ReferenceValues) corim() ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	var env wireEnvironment
	env.Class.Vendor, env.Class.Model = vendor, r.Board
	var w writer
	c := comid{
		fields:     w.fields(comidIdentity, map[int]string{0: r.identity()}),
		references: []referenceTriple{{Environment: w.raw(env), Measurements: r.measurements(&w)}},
	}
	if w.err != nil {
		return nil, w.err
	}
	inner, err := c.encode()
	if err != nil {
		return nil, err
	}
	m := manifest{
		fields: w.fields(corimID, r.identity(), corimProfiles, cbor.Tag{Number: 32, Content: corimProfile}),
		tags:   []cbor.RawTag{{Number: tagCoMID, Content: w.raw(inner)}},
	}
	if w.err != nil {
		return nil, w.err
	}
	return m.encode()
}

func (r *ReferenceValues) measurements(w *writer) []fields {
	commit, err := hex.DecodeString(r.Commit)
	if err != nil {
		w.err = err
	}
	all := []fields{
		w.measurement(keyRelease, w.fields(
			valueVersion, wireCoRIMVersion{Version: r.Version, Scheme: schemeSemver},
			valueSVN, cbor.Tag{Number: tagSVN, Content: r.Rollback},
		)),
		w.measurement(keyCommit, w.bytes(commit)),
		w.measurement(keySBOM, w.digest(r.SBOM)),
		w.measurement(keyVerityRoot, w.digest(r.VerityRoot)),
		w.measurement(keyCommandLine, w.bytes([]byte(r.CommandLine))),
	}
	p := wireProfile{FirstStage: r.Profile.FirstStage, VerifiedBy: r.Profile.VerifiedBy}
	for _, rule := range r.Profile.Rules {
		p.Rules = append(p.Rules, wireRule{PCR: rule.PCR, Word: rule.Word})
	}
	all = append(all, w.measurement(keyProfile, w.fields(labelBoard, p)))
	for _, s := range r.Sections {
		all = append(all, w.measurement(keySection+s.Name, w.digest(s.Digest)))
	}
	for _, p := range r.Phases {
		all = append(all, w.measurement(keyPhase+p.Name, w.digest(p.PCR11)))
	}
	for i, v := range r.Values {
		all = append(all, w.measurement(numbered(keyValue, v.PCR, i), w.digest(v.Value)))
	}
	for i, e := range r.Events {
		all = append(all, w.measurement(numbered(keyEvent, e.PCR, i), w.fields(valueDigests, digests(e.Digest), valueName, e.Name)))
	}
	return all
}

// A writer encodes values and keeps the first error.
type writer struct{ err error }

func (w *writer) raw(v any) cbor.RawMessage {
	b, err := encode(v)
	if err != nil && w.err == nil {
		w.err = err
	}
	return b
}

// fields returns a map of labels and values, given in turns in ascending order.
func (w *writer) fields(pairs ...any) fields {
	var f fields
	for pair := range slices.Chunk(pairs, 2) {
		f = append(f, field{w.raw(pair[0]), w.raw(pair[1])})
	}
	return f
}

func (w *writer) measurement(key string, values fields) fields {
	return w.fields(measureKey, key, measureValues, values)
}

func (w *writer) digest(d Digest) fields { return w.fields(valueDigests, digests(d)) }

func digests(d Digest) []wireDigest { return []wireDigest{{Algorithm: hashSHA256, Value: d}} }

func (w *writer) bytes(b []byte) fields {
	return w.fields(valueRaw, cbor.Tag{Number: tagBytes, Content: b})
}

// parseCoRIM reads what corim wrote, and nothing else: it writes what it
// understood again and compares.
func parseCoRIM(b []byte) (*ReferenceValues, error) {
	m, err := parseManifest(b)
	if err != nil {
		return nil, err
	}
	if len(m.tags) != 1 || m.tags[0].Number != tagCoMID {
		return nil, fmt.Errorf("%w: CoRIM without exactly one CoMID", ErrMalformed)
	}
	var inner []byte
	if err := decode(deepDecoder, m.tags[0].Content, MaxReferences, &inner); err != nil {
		return nil, err
	}
	c, err := parseCoMID(inner)
	if err != nil {
		return nil, err
	}
	if len(c.references) != 1 {
		return nil, fmt.Errorf("%w: CoMID without exactly one reference triple", ErrMalformed)
	}
	var env wireEnvironment
	if err := decode(deepDecoder, c.references[0].Environment, MaxReferences, &env); err != nil {
		return nil, err
	}
	r := &ReferenceValues{Board: env.Class.Model}
	for _, m := range c.references[0].Measurements {
		if err := r.read(m); err != nil {
			return nil, err
		}
	}
	again, err := r.corim()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(again, b) {
		return nil, fmt.Errorf("%w: CoRIM of another profile", ErrMalformed)
	}
	return r, nil
}

// read adds one measurement to r. What a key should have beside, the comparison
// in parseCoRIM sees.
func (r *ReferenceValues) read(m fields) error {
	var key string
	var values fields
	if err := errors.Join(m.take(measureKey, &key), m.take(measureValues, &values)); err != nil {
		return err
	}
	switch key {
	case keyRelease:
		var v wireCoRIMVersion
		if err := decode(deepDecoder, values.at(valueVersion), MaxReferences, &v); err != nil {
			return err
		}
		r.Version = v.Version
		return untag(values.at(valueSVN), tagSVN, &r.Rollback)
	case keyCommit:
		var b []byte
		err := untag(values.at(valueRaw), tagBytes, &b)
		r.Commit = hex.EncodeToString(b)
		return err
	case keyCommandLine:
		var b []byte
		err := untag(values.at(valueRaw), tagBytes, &b)
		r.CommandLine = string(b)
		return err
	case keyProfile:
		return r.readProfile(values.at(labelBoard))
	}
	d, err := digestOf(values)
	if err != nil {
		return err
	}
	switch prefix, name, _ := strings.Cut(key, "/"); prefix + "/" {
	case keySBOM + "/":
		r.SBOM = d
	case keyVerityRoot + "/":
		r.VerityRoot = d
	case keySection:
		r.Sections = append(r.Sections, Section{Name: name, Digest: d})
	case keyPhase:
		r.Phases = append(r.Phases, Phase{Name: name, PCR11: d})
	case keyValue:
		pcr, err := register(name)
		r.Values = append(r.Values, PCRValue{PCR: pcr, Value: d})
		return err
	case keyEvent:
		pcr, err := register(name)
		if err != nil {
			return err
		}
		e := BoardEvent{PCR: pcr, Digest: d}
		if err := decode(deepDecoder, values.at(valueName), MaxReferences, &e.Name); err != nil {
			return err
		}
		r.Events = append(r.Events, e)
	default:
		return fmt.Errorf("%w: measurement %.32q", ErrMalformed, key)
	}
	return nil
}

func (r *ReferenceValues) readProfile(raw []byte) error {
	var p wireProfile
	if err := decode(deepDecoder, raw, MaxReferences, &p); err != nil {
		return err
	}
	r.Profile = BoardProfile{FirstStage: p.FirstStage, VerifiedBy: p.VerifiedBy}
	for _, rule := range p.Rules {
		r.Profile.Rules = append(r.Profile.Rules, Rule{PCR: rule.PCR, Word: rule.Word})
	}
	return nil
}

func digestOf(values fields) (Digest, error) {
	var list []wireDigest
	if err := decode(deepDecoder, values.at(valueDigests), MaxReferences, &list); err != nil {
		return Digest{}, err
	}
	if len(list) != 1 || list[0].Algorithm != hashSHA256 {
		return Digest{}, fmt.Errorf("%w: not one SHA-256 digest", ErrMalformed)
	}
	return list[0].Value, nil
}

// untag reads the content of a tag that must have the number given.
func untag(raw []byte, number uint64, v any) error {
	var tag cbor.RawTag
	if err := decode(deepDecoder, raw, MaxReferences, &tag); err != nil {
		return err
	}
	if tag.Number != number {
		return fmt.Errorf("%w: tag %d", ErrMalformed, tag.Number)
	}
	return decode(deepDecoder, tag.Content, MaxReferences, v)
}

// register reads the register of a key such as "7/0".
func register(name string) (int, error) {
	pcr, _, _ := strings.Cut(name, "/")
	n, err := strconv.ParseUint(pcr, 10, 8)
	if err != nil {
		return 0, fmt.Errorf("%w: register", ErrMalformed)
	}
	return int(n), nil
}
