// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
)

// Codes of the kernel's keys (kernel: input-event-codes.h).
const (
	keyPower   = 116
	keyRestart = 0x198
)

// heldButton writes a device tree of the board in which the one button it has,
// on a line of its GPIO controller, is the button of a factory reset, and is down
// for as long as nobody pulls the line up. QEMU's own keyboards lack that key.
func heldButton(ctx context.Context, args []string, path string) error {
	dump := append([]string{"-machine", "dumpdtb=" + path}, args...)
	if err := run(ctx, "qemu-system-aarch64", dump...); err != nil {
		return err
	}
	tree, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := pressButton(tree); err != nil {
		return err
	}
	if tree, err = pack(tree); err != nil {
		return err
	}
	return os.WriteFile(path, tree, 0o600) //nolint:gosec // in a folder that the harness made
}

// pressButton changes the button of a flattened device tree (Devicetree
// Specification 0.4, Section 5.4), in which QEMU has, in this order:
//
//	gpios = <controller 3 0>;  // active high
//	linux,code = <116>;
func pressButton(tree []byte) error {
	be := binary.BigEndian
	node := []byte("\x00\x00\x00\x01gpio-keys\x00")
	at := bytes.Index(tree, node)
	if at < 0 || bytes.Count(tree, node) != 1 {
		return errors.New("harness: device tree: not one node gpio-keys")
	}
	// Property: token 3, length, offset of the name, value.
	gpios, code := -1, -1
	for i := at; i+24 <= len(tree) && be.Uint32(tree[i:]) != 9; i += 4 {
		if be.Uint32(tree[i:]) != 3 {
			continue
		}
		switch size := be.Uint32(tree[i+4:]); {
		case size == 12 && be.Uint32(tree[i+16:]) == 3 && be.Uint32(tree[i+20:]) == 0 && gpios < 0:
			gpios = i + 12
		case size == 4 && be.Uint32(tree[i+12:]) == keyPower && gpios >= 0 && code < 0:
			code = i + 12
		}
	}
	if gpios < 0 || code < 0 {
		return fmt.Errorf("harness: device tree: the button is at %d and %d", gpios, code)
	}
	be.PutUint32(tree[gpios+8:], 1) // active low
	be.PutUint32(tree[code:], keyRestart)
	return nil
}

// pack cuts off the room that QEMU leaves behind a tree: with that the kernel's
// loader finds it too large (Devicetree Specification 0.4, Section 5.2).
func pack(tree []byte) ([]byte, error) {
	be := binary.BigEndian
	if len(tree) < 40 || be.Uint32(tree) != 0xd00dfeed {
		return nil, errors.New("harness: no device tree")
	}
	end := max(be.Uint32(tree[8:])+be.Uint32(tree[36:]), be.Uint32(tree[12:])+be.Uint32(tree[32:]))
	if int64(end) > int64(len(tree)) {
		return nil, errors.New("harness: device tree: cut short")
	}
	be.PutUint32(tree[4:], end)
	return tree[:end], nil
}
