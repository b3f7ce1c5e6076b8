// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"incamera/cmd/internal/box"
	"incamera/secureboot/enrol"
	"incamera/secureboot/enrol/client"
	"incamera/secureboot/evidence"
)

func setReferenceAdd(k *call) func(context.Context) error {
	document := k.String("document", "", "`file` with signed reference values")
	proof := k.String("proof", "", "`file` with the proof that they are in the log")
	consistency := k.String("consistency", "", "`file` with hashes of 32 bytes each, from the checkpoint that the verifier keeps")
	return k.asking(func(ctx context.Context, c *client.Client) error {
		var d enrol.ReferenceDocument
		var err error
		if d.Document, err = box.ReadUpTo(*document, evidence.MaxReferences); err != nil {
			return err
		}
		if d.Proof, err = box.ReadUpTo(*proof, evidence.MaxProof); err != nil {
			return err
		}
		if *consistency != "" {
			b, err := box.ReadUpTo(*consistency, 64*32)
			if err != nil {
				return err
			}
			if len(b)%32 != 0 {
				return fmt.Errorf("%s: not hashes of 32 bytes", *consistency)
			}
			for ; len(b) > 0; b = b[32:] {
				d.Consistency = append(d.Consistency, b[:32])
			}
		}
		if err := c.AddReference(ctx, d); err != nil {
			return err
		}
		return k.print(map[string]string{"added": *document}, "%s: added\n", *document)
	})
}

func setReferenceList(k *call) func(context.Context) error {
	return k.asking(func(ctx context.Context, c *client.Client) error {
		list, err := c.References(ctx)
		if err != nil {
			return err
		}
		var b strings.Builder
		for _, r := range list {
			state := ""
			if r.Revoked {
				state = "revoked"
			}
			fmt.Fprintf(&b, "%-12s %-16s %6d %s %s\n", r.Version, r.Board, r.Rollback, r.SHA256, state)
		}
		return k.print(list, "%s", b.String())
	})
}

func setBundleAdd(k *call) func(context.Context) error {
	return k.asking(func(ctx context.Context, c *client.Client) error {
		f, err := os.Open(k.Arg(0))
		if err != nil {
			return err
		}
		defer f.Close()
		e, err := c.AddBundle(ctx, f)
		if err != nil {
			return err
		}
		return k.print(e, "%s for %s: added; rooms get it after roomctl bundle approve %s\n", e.Version, e.Board, e.Version)
	})
}

func setBundleList(k *call) func(context.Context) error {
	board := k.String("board", "", "`board` to list; without it, all")
	return k.asking(func(ctx context.Context, c *client.Client) error {
		list, err := c.Bundles(ctx, *board)
		if err != nil {
			return err
		}
		var b strings.Builder
		for _, e := range list {
			state := "held"
			if e.Approved {
				state = "approved"
			}
			fmt.Fprintf(&b, "%-12s %-24s %6d %-8s %12d %s\n", e.Version, e.Board, e.Rollback, state, e.Size, e.SHA256)
		}
		return k.print(list, "%s", b.String())
	})
}

func setBundleApprove(k *call) func(context.Context) error {
	return setBundleAct(k, (*client.Client).ApproveBundle, "approved")
}

func setBundleWithdraw(k *call) func(context.Context) error {
	return setBundleAct(k, (*client.Client).WithdrawBundle, "withdrawn")
}

// setBundleAct makes a command that does one thing to the release that its word
// names.
func setBundleAct(k *call, act func(*client.Client, context.Context, string, string) error, done string) func(context.Context) error {
	board := k.String("board", "", "`board` that the release is for; needed if the verifier holds it for several")
	return k.asking(func(ctx context.Context, c *client.Client) error {
		version := k.Arg(0)
		if *board == "" {
			var err error
			if *board, err = onlyBoard(ctx, c, version); err != nil {
				return err
			}
		}
		if err := act(c, ctx, *board, version); err != nil {
			return err
		}
		return k.print(map[string]string{done: version, "board": *board}, "%s for %s: %s\n", version, *board, done)
	})
}

// onlyBoard returns the board for which the verifier holds a release.
func onlyBoard(ctx context.Context, c *client.Client, version string) (string, error) {
	list, err := c.Bundles(ctx, "")
	if err != nil {
		return "", err
	}
	var boards []string
	for _, e := range list {
		if e.Version == version {
			boards = append(boards, e.Board)
		}
	}
	switch len(boards) {
	case 0:
		return "", errors.New("the verifier holds no bundle of release " + version)
	case 1:
		return boards[0], nil
	}
	return "", fmt.Errorf("%w: -board: one of %s", errUsage, strings.Join(boards, ", "))
}
