// SPDX-License-Identifier: Apache-2.0

package mls

// The safe exporter of draft-ietf-mls-extensions-10, Section 4.4. What
// MLS-Exporter gives can be derived again until the epoch ends. This one gives
// each component one secret and forgets how it came to it, so that a secret
// which its component has wiped is gone.

const appExportLabel = "application_export"

// maxComponents is the number of leaves of the exporter tree: one for each
// value of a ComponentID, whether in use or not.
const maxComponents = 1 << 16

// newExports takes over application_export_secret as the root of the exporter
// tree, which is divided as far as components ask for it.
func newExports(s *Suite, root secret) seedTree { return newSeedTree(s, maxComponents, root) }

// SafeExport gives a component its secret of the epoch (SafeExportSecret), of
// the size of the suite's hash. It is the same for all members. Each component
// gets it once in an epoch: after that the error is [ErrExported]. The caller
// owns and wipes it.
//
// A component's secret costs at most 16 hashes of memory until the epoch ends.
func (g *Group) SafeExport(id ComponentID) ([]byte, error) {
	if g.cur == nil {
		return nil, ErrRemoved
	}
	s, take := g.cur.exports.leaf(LeafIndex(id))
	if s == nil {
		return nil, ErrExported
	}
	take()
	return s, nil
}
