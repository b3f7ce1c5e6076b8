// SPDX-License-Identifier: Apache-2.0

package eventlog

import "encoding/binary"

// Encode returns the log in binary form. A log that [Parse] returned gives the
// bytes it was parsed from.
func (l *Log) Encode() []byte {
	var b []byte
	if l.spec != nil {
		b = appendEvent1(b, Event{
			Type:    NoAction,
			Digests: []Digest{{SHA1, make([]byte, SHA1.size())}},
			Data:    l.spec.encode(),
		})
	}
	for _, e := range l.Events {
		if l.spec != nil {
			b = appendEvent2(b, e)
		} else {
			b = appendEvent1(b, e)
		}
	}
	return b
}

func (s *specID) encode() []byte {
	b := []byte(specSignature)
	b = binary.LittleEndian.AppendUint32(b, s.platform)
	b = append(b, s.version[:]...)
	b = append(b, s.uintn)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(s.algs)))
	for _, a := range s.algs {
		b = binary.LittleEndian.AppendUint16(b, uint16(a.id))
		b = binary.LittleEndian.AppendUint16(b, uint16(a.size))
	}
	b = append(b, byte(len(s.vendor)))
	return append(b, s.vendor...)
}

func appendEvent1(b []byte, e Event) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(int32(e.PCR)))
	b = binary.LittleEndian.AppendUint32(b, uint32(e.Type))
	b = append(b, e.Digests[0].Sum...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(e.Data)))
	return append(b, e.Data...)
}

func appendEvent2(b []byte, e Event) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(int32(e.PCR)))
	b = binary.LittleEndian.AppendUint32(b, uint32(e.Type))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(e.Digests)))
	for _, d := range e.Digests {
		b = binary.LittleEndian.AppendUint16(b, uint16(d.Algorithm))
		b = append(b, d.Sum...)
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(len(e.Data)))
	return append(b, e.Data...)
}
