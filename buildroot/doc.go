// SPDX-License-Identifier: Apache-2.0

// Package buildroot holds no code: it is the tree from which the system image of a
// room is built, by Buildroot for boards and from Debian's packages for CI. Its
// tests hold what can be known of the tree without building it: that the symbols
// exist, that the fragments are in the kernel, that units say what systemd
// understands, that no port, account or login is there that nobody wrote down.
//
// They show nothing of a board that starts. See board/README.md.
package buildroot
