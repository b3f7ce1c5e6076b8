// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"

	"incamera/secureboot/enrol"
)

// Directory lists the rooms of the site, the asking one too, with the addresses
// of their relays. It is for enrolled rooms, see [Member.Client], and staff.
func (c *Client) Directory(ctx context.Context) ([]enrol.DirectoryEntry, error) {
	b, err := c.do(ctx, http.MethodGet, "/v1/directory", "", nil)
	if err != nil {
		return nil, err
	}
	var list struct {
		Rooms []enrol.DirectoryEntry `json:"rooms"`
	}
	if err := decode(b, &list); err != nil {
		return nil, err
	}
	for _, e := range list.Rooms {
		if err := e.Check(); err != nil {
			return nil, fmt.Errorf("client: answer: %w", err)
		}
	}
	return list.Rooms, nil
}

// Bundles lists the releases that the verifier holds for a board; for all boards
// if it is empty. Rooms are told of those that staff have approved, staff of all.
func (c *Client) Bundles(ctx context.Context, board string) ([]enrol.BundleEntry, error) {
	path := "/v1/bundles"
	if board != "" {
		path += "?board=" + url.QueryEscape(board)
	}
	b, err := c.do(ctx, http.MethodGet, path, "", nil)
	if err != nil {
		return nil, err
	}
	var list struct {
		Bundles []enrol.BundleEntry `json:"bundles"`
	}
	if err := decode(b, &list); err != nil {
		return nil, err
	}
	for _, e := range list.Bundles {
		if err := e.Check(); err != nil {
			return nil, fmt.Errorf("client: answer: %w", err)
		}
	}
	return slices.Clip(list.Bundles), nil
}

// Bundle fetches a release that staff have approved. What comes is hostile until
// package update has verified it. The caller closes it; it ends with an error
// if the verifier hangs up, falls silent, or withdraws the release.
func (c *Client) Bundle(ctx context.Context, board, version string) (io.ReadCloser, error) {
	return c.download(ctx, bundlePath(board, version, ""))
}

// AddBundle gives the verifier a release, which no room gets before it is
// approved. It wants a member of staff, as the two that follow do. The bundle
// is read to its end.
func (c *Client) AddBundle(ctx context.Context, bundle io.Reader) (enrol.BundleEntry, error) {
	var e enrol.BundleEntry
	b, err := c.upload(ctx, http.MethodPut, "/v1/bundles", enrol.MediaBundle, bundle)
	if err != nil {
		return e, err
	}
	return e, decode(b, &e)
}

// ApproveBundle lets rooms have a release.
func (c *Client) ApproveBundle(ctx context.Context, board, version string) error {
	_, err := c.do(ctx, http.MethodPost, bundlePath(board, version, "/approve"), "", nil)
	return err
}

// WithdrawBundle removes a release: no room gets it any more, and the rest of
// one that is on its way is not sent.
func (c *Client) WithdrawBundle(ctx context.Context, board, version string) error {
	_, err := c.do(ctx, http.MethodPost, bundlePath(board, version, "/withdraw"), "", nil)
	return err
}

func bundlePath(board, version, act string) string {
	return "/v1/bundles/" + url.PathEscape(version) + act + "?board=" + url.QueryEscape(board)
}
