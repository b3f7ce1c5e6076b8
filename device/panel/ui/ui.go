// SPDX-License-Identifier: Apache-2.0

// Package ui holds the panel's page, as "make ui" bundled it into dist. The
// sources are in src; nothing of them is served.
package ui

import (
	"embed"
	"io/fs"
)

//go:embed all:dist
var dist embed.FS

// Files returns the bundled page. Without "make ui" it holds nothing but a
// note.
func Files() fs.FS {
	files, err := fs.Sub(dist, "dist")
	if err != nil {
		panic(err) // the directive above names dist
	}
	return files
}
