// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"os/exec"

	"incamera/secureboot/provision"
	"incamera/secureboot/seal"
)

// setProvision runs the steps of package provision. It may be run again after a
// power cut, and after the end.
func setProvision(k *call) func(context.Context) error {
	config := k.config()
	disk := k.String("disk-tool", "", "`program` that makes the key on its standard input open the state partition, and does nothing if it does already")
	rollback := k.Uint64("rollback", 0, "rollback `number` of the running release")
	policyKey := k.Uint64("policy-key", 0, "`number` of the policy key that approved it")
	return func(ctx context.Context) error {
		if *disk == "" || *rollback == 0 || *policyKey == 0 {
			return fmt.Errorf("%w: -disk-tool, -rollback and -policy-key", errUsage)
		}
		c, err := readConfig(*config)
		if err != nil {
			return err
		}
		policies, root, err := c.Trust.Release()
		if err != nil {
			return err
		}
		t, err := c.open(ctx)
		if err != nil {
			return err
		}
		defer func() { _ = t.Close() }() // nothing is under way
		store, err := seal.OpenStore(c.Trust.Store)
		if err != nil {
			return err
		}
		defer func() { _ = store.Close() }() // Put has synced
		room, err := provision.Run(ctx, t, store, provision.Plan{
			Root: root, Policies: policies, Version: *rollback, PolicyKey: *policyKey,
			Disk: diskTool(*disk), Keeper: typist{k.in, k.Output()}, Log: slog.New(slog.NewTextHandler(k.Output(), nil)),
		})
		if err != nil {
			return err
		}
		sum := sha256.Sum256(room.EK.Name.Buffer)
		return k.print(map[string]string{"ek": hex.EncodeToString(sum[:])}, "provisioned; the chip's hash, for staff to approve: %x\n", sum)
	}
}

// A diskTool is a program that holds the partition's ways.
type diskTool string

// Adopt implements [provision.Disk]. The key goes through a pipe: it is in no
// argument, file or environment.
func (d diskTool) Adopt(ctx context.Context, key seal.Secret) error {
	cmd := exec.CommandContext(ctx, string(d)) // #nosec G204 -- the operator names it
	cmd.Stdin = bytes.NewReader(key)
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", string(d), err)
	}
	return nil
}

// A typist is a person who copies the recovery key and types it back.
type typist struct {
	in  *bufio.Reader
	out io.Writer
}

// Keep implements [provision.Keeper].
func (p typist) Keep(_ context.Context, key seal.RecoveryKey) (seal.RecoveryKey, error) {
	if _, err := fmt.Fprintf(p.out, "Recovery key of this room. It is shown once and opens its disk when the TPM does not:\n\n  %s\n\nCopy it, then type it back: ", key.Text()); err != nil {
		return seal.RecoveryKey{}, err
	}
	line, err := p.in.ReadString('\n')
	if err != nil && line == "" {
		return seal.RecoveryKey{}, fmt.Errorf("recovery key: %w", err)
	}
	return seal.ParseRecoveryKey(line)
}
