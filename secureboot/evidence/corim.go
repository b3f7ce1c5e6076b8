// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"fmt"
	"maps"

	"github.com/fxamacker/cbor/v2"
)

// This file reads and writes CoRIM as far down as reference values lie
// (draft-ietf-rats-corim-10, Sections 4 and 5). What lies beside them is kept as
// it came, so that a document of others comes out as it went in.

// fields is a CBOR map whose keys are integers (int64, uint64) or texts.
type fields map[any]cbor.RawMessage

// A manifest is a corim-map.
type manifest struct {
	rest fields // without the tags
	tags []cbor.RawTag
}

// A comid is a concise-mid-tag, a set of triples about modules.
type comid struct {
	rest       fields // without the triples
	triples    fields // without the reference triples
	references []referenceTriple
}

// A referenceTriple gives an environment the measurements that it may have.
type referenceTriple struct {
	environment  cbor.RawMessage
	measurements []measurement
}

// A measurement is a measurement-map. Key is nil where there is none.
type measurement struct {
	key    cbor.RawMessage
	values fields
	rest   fields
}

// The keys of the maps above.
const (
	corimTags     = uint64(1)
	comidTriples  = uint64(4)
	tripleRefs    = uint64(0)
	measureKey    = uint64(0)
	measureValues = uint64(1)
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
	if err := decode(deepDecoder, tag.Content, MaxReferences, &m.rest); err != nil {
		return nil, err
	}
	return m, take(m.rest, corimTags, &m.tags)
}

func (m *manifest) encode() ([]byte, error) {
	all, err := put(m.rest, corimTags, m.tags)
	if err != nil {
		return nil, err
	}
	return encode(cbor.Tag{Number: tagCoRIM, Content: all})
}

func parseCoMID(b []byte) (*comid, error) {
	c := new(comid)
	if err := decode(deepDecoder, b, MaxReferences, &c.rest); err != nil {
		return nil, err
	}
	if err := take(c.rest, comidTriples, &c.triples); err != nil {
		return nil, err
	}
	var triples []struct {
		_            struct{} `cbor:",toarray"`
		Environment  cbor.RawMessage
		Measurements []fields
	}
	if err := take(c.triples, tripleRefs, &triples); err != nil {
		return nil, err
	}
	for _, t := range triples {
		r := referenceTriple{environment: t.Environment, measurements: []measurement{}}
		for _, f := range t.Measurements {
			m := measurement{key: f[measureKey], rest: f}
			delete(f, measureKey)
			if err := take(f, measureValues, &m.values); err != nil {
				return nil, err
			}
			r.measurements = append(r.measurements, m)
		}
		c.references = append(c.references, r)
	}
	return c, nil
}

func (c *comid) encode() ([]byte, error) {
	type pair struct {
		_            struct{} `cbor:",toarray"`
		Environment  cbor.RawMessage
		Measurements []fields
	}
	var pairs []pair
	for _, r := range c.references {
		p := pair{Environment: r.environment, Measurements: []fields{}}
		for _, m := range r.measurements {
			f, err := put(m.rest, measureValues, m.values)
			if err != nil {
				return nil, err
			}
			if m.key != nil {
				f[measureKey] = m.key
			}
			p.Measurements = append(p.Measurements, f)
		}
		pairs = append(pairs, p)
	}
	triples, err := put(c.triples, tripleRefs, pairs)
	if err != nil {
		return nil, err
	}
	all, err := put(c.rest, comidTriples, triples)
	if err != nil {
		return nil, err
	}
	return encode(all)
}

// take moves the value of key out of f into v, if it is there.
func take(f fields, key uint64, v any) error {
	raw, ok := f[key]
	if !ok {
		return nil
	}
	delete(f, key)
	return decode(deepDecoder, raw, MaxReferences, v)
}

// put returns a copy of f with v under key, unless v is a nil slice or map: then
// it was not there.
func put(f fields, key uint64, v any) (fields, error) {
	raw, err := encode(v)
	if err != nil {
		return nil, err
	}
	all := maps.Clone(f)
	if all == nil {
		all = fields{}
	}
	if raw[0] != 0xf6 { // null
		all[key] = raw
	}
	return all, nil
}
