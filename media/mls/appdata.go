// SPDX-License-Identifier: Apache-2.0

package mls

import "slices"

// The application data dictionary of draft-ietf-mls-extensions-09, Section 4:
// applications number their components and keep data under the numbers, in
// leaves, KeyPackages and GroupContexts, without an extension type for each.

// A ComponentID numbers a component. From 0x8000 up is for private use.
type ComponentID uint16

// Components of the draft itself.
const (
	ComponentAppComponents ComponentID = 1 // the components a client supports
	ComponentSafeAAD       ComponentID = 2 // components with a part in additional data
	ComponentLastResort    ComponentID = 4 // marks a KeyPackage of last resort
)

// AppData is the data of one component.
type AppData struct {
	Component ComponentID
	Data      []byte
}

// maxComponentData bounds one component; evidence is the largest.
const maxComponentData = 16 << 10

func decodeAppDataDictionary(r *reader) []AppData {
	l := list(r, maxHandshake, maxCapabilities, func(r *reader) AppData {
		return AppData{Component: ComponentID(r.u16()), Data: r.vec(maxComponentData)}
	})
	for i := 1; i < len(l); i++ {
		if l[i-1].Component >= l[i].Component {
			r.fail("components are not in ascending order")
			return nil
		}
	}
	return l
}

// ParseAppDataDictionary reads the data of an [ExtAppDataDictionary] extension.
// The components come in ascending order and each at most once.
func ParseAppDataDictionary(data []byte) ([]AppData, error) {
	return decodeAll(data, decodeAppDataDictionary)
}

// AppDataDictionary makes the extension. It sorts the components; of two with
// the same number it keeps the first.
func AppDataDictionary(entries []AppData) Extension {
	l := slices.Clone(entries)
	slices.SortStableFunc(l, func(a, b AppData) int { return int(a.Component) - int(b.Component) })
	l = slices.CompactFunc(l, func(a, b AppData) bool { return a.Component == b.Component })
	return Extension{Type: ExtAppDataDictionary, Data: appendList(nil, l, func(b []byte, d AppData) []byte {
		return appendVec(appendU16(b, uint16(d.Component)), d.Data)
	})}
}

// Component returns the data of a component among extensions, and whether it
// is there.
func Component(l []Extension, id ComponentID) ([]byte, bool) {
	data, ok := extension(l, ExtAppDataDictionary)
	if !ok {
		return nil, false
	}
	entries, err := ParseAppDataDictionary(data)
	if err != nil {
		return nil, false
	}
	for _, e := range entries {
		if e.Component == id {
			return e.Data, true
		}
	}
	return nil, false
}

// AppComponents encodes the list of components that a client supports, the
// value of [ComponentAppComponents].
func AppComponents(ids []ComponentID) []byte { return appendU16s(nil, ids) }

// ParseAppComponents reads what [AppComponents] made.
func ParseAppComponents(data []byte) ([]ComponentID, error) {
	return decodeAll(data, u16s[ComponentID])
}

// A SafeAAD is the part of a message's additional data that belongs to one
// component (draft-ietf-mls-extensions-09, Section 4.9).
type SafeAAD = AppData

// AppendSafeAAD encodes the components' parts in front of the application's
// own additional data, in ascending order.
func AppendSafeAAD(items []SafeAAD, own []byte) []byte {
	return append(AppDataDictionary(items).Data, own...)
}

// SplitSafeAAD reads what [AppendSafeAAD] made.
func SplitSafeAAD(aad []byte) (items []SafeAAD, own []byte, err error) {
	r := &reader{b: aad}
	items = decodeAppDataDictionary(r)
	if r.err != nil {
		return nil, nil, r.err
	}
	return items, r.b, nil
}
