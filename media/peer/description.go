// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"
)

// Bounds of a description.
const (
	// MaxDescription bounds a description in bytes. Ours have about 3 KiB.
	MaxDescription = 16 << 10
	// maxCandidates bounds the addresses in a description: more than a room
	// has, and few enough that nobody can make us knock all over a network.
	maxCandidates = 24
)

// sections is what the media sections of a description are, by kind.
var sections = [kinds]struct {
	media, format, codec string
}{
	{"audio", strconv.Itoa(typeOpus), "opus/48000/2"},
	{"video", strconv.Itoa(typeVP8), "VP8/90000"},
	{"video", strconv.Itoa(typeVP8), "VP8/90000"},
}

// A remote is what must stay the same in all descriptions of a peer: an ICE
// restart changes addresses, nothing else.
type remote struct {
	ssrcs       [kinds]uint32
	fingerprint string
}

// parseDescription checks that a description is one that a room makes: three
// sections, each with one stream of the one codec for it, and no data channel,
// simulcast or second certificate. It answers what pion may be told; that pion
// copes with the rest is pion's part. The errors wrap [ErrDescription].
func parseDescription(text string) (*remote, error) {
	if len(text) > MaxDescription {
		return nil, fmt.Errorf("%w: %d bytes", ErrDescription, len(text))
	}
	var d sdp.SessionDescription
	if err := d.UnmarshalString(text); err != nil {
		return nil, fmt.Errorf("%w: not SDP", ErrDescription)
	}
	if len(d.MediaDescriptions) != kinds {
		return nil, fmt.Errorf("%w: %d media sections", ErrDescription, len(d.MediaDescriptions))
	}
	r := &remote{}
	prints := valuesOf(d.Attributes, "fingerprint")
	candidates := len(valuesOf(d.Attributes, "candidate"))
	for k, m := range d.MediaDescriptions {
		ssrc, err := parseSection(k, m)
		if err != nil {
			return nil, err
		}
		if slices.Contains(r.ssrcs[:k], ssrc) {
			return nil, fmt.Errorf("%w: two streams with one number", ErrDescription)
		}
		r.ssrcs[k] = ssrc
		prints = append(prints, valuesOf(m.Attributes, "fingerprint")...)
		candidates += len(valuesOf(m.Attributes, "candidate"))
	}
	prints = slices.Compact(prints)
	if len(prints) != 1 || !strings.HasPrefix(prints[0], "sha-256 ") {
		return nil, fmt.Errorf("%w: not exactly one SHA-256 fingerprint", ErrDescription)
	}
	if candidates > maxCandidates {
		return nil, fmt.Errorf("%w: %d candidates", ErrDescription, candidates)
	}
	r.fingerprint = prints[0]
	return r, nil
}

// parseSection checks the media section of a kind and returns the number of its
// stream.
func parseSection(k int, m *sdp.MediaDescription) (uint32, error) {
	want := sections[k]
	name := m.MediaName
	if name.Media != want.media || !slices.Equal(name.Formats, []string{want.format}) || name.Port.Value == 0 {
		return 0, fmt.Errorf("%w: section %d is not what it must be", ErrDescription, k)
	}
	if mid := valuesOf(m.Attributes, "mid"); !slices.Equal(mid, []string{strconv.Itoa(k)}) {
		return 0, fmt.Errorf("%w: section %d has another name", ErrDescription, k)
	}
	if maps := valuesOf(m.Attributes, "rtpmap"); !slices.Equal(maps, []string{want.format + " " + want.codec}) {
		return 0, fmt.Errorf("%w: section %d has another codec", ErrDescription, k)
	}
	for _, key := range []string{"rid", "simulcast", "ssrc-group", "recvonly", "sendonly", "inactive", "crypto"} {
		if _, found := m.Attribute(key); found {
			return 0, fmt.Errorf("%w: section %d has %s", ErrDescription, k, key)
		}
	}
	var ssrc uint32
	for _, v := range valuesOf(m.Attributes, "ssrc") {
		number, _, _ := strings.Cut(v, " ")
		n, err := strconv.ParseUint(number, 10, 32)
		if err != nil || n == 0 || ssrc != 0 && uint32(n) != ssrc {
			return 0, fmt.Errorf("%w: section %d has not exactly one stream", ErrDescription, k)
		}
		ssrc = uint32(n)
	}
	if ssrc == 0 {
		return 0, fmt.Errorf("%w: section %d has not exactly one stream", ErrDescription, k)
	}
	return ssrc, nil
}

func valuesOf(attributes []sdp.Attribute, key string) []string {
	var values []string
	for _, a := range attributes {
		if a.Key == key {
			values = append(values, a.Value)
		}
	}
	return values
}
