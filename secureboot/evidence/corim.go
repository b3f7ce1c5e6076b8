// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// This file reads and writes CoRIM as far down as reference values lie
// (draft-ietf-rats-corim-10, Sections 4 and 5). What lies beside them is kept as
// it came, so that a document of others comes out as it went in.

// A manifest is a corim-map. Tags take the place of what fields has under theirs.
type manifest struct {
	fields fields
	tags   []cbor.RawTag
}

// A comid is a concise-mid-tag, a set of triples about modules. References take
// the place of what triples has under theirs, and triples of what fields has.
type comid struct {
	fields     fields
	triples    fields
	references []referenceTriple
}

// A referenceTriple gives an environment the measurements that it may have.
type referenceTriple struct {
	_            struct{} `cbor:",toarray"`
	Environment  cbor.RawMessage
	Measurements []fields // measurement-map
}

// The keys of the maps above.
const (
	corimID       = 0
	corimTags     = 1
	corimProfiles = 3
	comidIdentity = 1
	comidTriples  = 4
	tripleRefs    = 0
	measureKey    = 0
	measureValues = 1
)

func parseManifest(b []byte) (*manifest, error) {
	var tag cbor.RawTag
	if err := decode(deepDecoder, b, MaxReferences, &tag); err != nil {
		return nil, err
	}
	if tag.Number != tagCoRIM {
		return nil, fmt.Errorf("%w: tag %d is no CoRIM", ErrMalformed, tag.Number)
	}
	m := new(manifest)
	if err := decode(deepDecoder, tag.Content, MaxReferences, &m.fields); err != nil {
		return nil, err
	}
	return m, m.fields.take(corimTags, &m.tags)
}

func (m *manifest) encode() ([]byte, error) {
	all, err := m.fields.with(corimTags, m.tags)
	if err != nil {
		return nil, err
	}
	return encode(cbor.Tag{Number: tagCoRIM, Content: all})
}

func parseCoMID(b []byte) (*comid, error) {
	c := new(comid)
	if err := decode(deepDecoder, b, MaxReferences, &c.fields); err != nil {
		return nil, err
	}
	if err := c.fields.take(comidTriples, &c.triples); err != nil {
		return nil, err
	}
	return c, c.triples.take(tripleRefs, &c.references)
}

func (c *comid) encode() ([]byte, error) {
	triples, err := c.triples.with(tripleRefs, c.references)
	if err != nil {
		return nil, err
	}
	all, err := c.fields.with(comidTriples, triples)
	if err != nil {
		return nil, err
	}
	return encode(all)
}
