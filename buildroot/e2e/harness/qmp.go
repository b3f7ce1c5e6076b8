// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"time"
)

// monitorFor bounds one request to QEMU's monitor.
const monitorFor = 10 * time.Second

// monitor makes one request of the QEMU Machine Protocol and decodes what it
// returns into result, if that is not nil.
func (r *Run) monitor(ctx context.Context, command string, arguments, result any) error {
	ctx, cancel := context.WithTimeout(ctx, monitorFor)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", r.socket)
	if err != nil {
		return fmt.Errorf("harness: monitor: %w", err)
	}
	defer func() { _ = conn.Close() }() // the answer is there
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	in := bufio.NewReader(conn)
	if _, err := in.ReadBytes('\n'); err != nil { // the greeting
		return fmt.Errorf("harness: monitor: %w", err)
	}
	if err := ask(conn, in, "qmp_capabilities", nil, nil); err != nil {
		return err
	}
	return ask(conn, in, command, arguments, result)
}

func ask(conn net.Conn, in *bufio.Reader, command string, arguments, result any) error {
	request := map[string]any{"execute": command}
	if arguments != nil {
		request["arguments"] = arguments
	}
	if err := json.NewEncoder(conn).Encode(request); err != nil {
		return fmt.Errorf("harness: monitor: %s: %w", command, err)
	}
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return fmt.Errorf("harness: monitor: %s: %w", command, err)
		}
		var answer struct {
			Return json.RawMessage
			Error  json.RawMessage
		}
		switch err := json.Unmarshal(line, &answer); {
		case err != nil:
			return fmt.Errorf("harness: monitor: %s: %w", command, err)
		case answer.Error != nil:
			return fmt.Errorf("harness: monitor: %s: %s", command, answer.Error)
		case answer.Return == nil: // an event
		case result == nil:
			return nil
		default:
			return json.Unmarshal(answer.Return, result)
		}
	}
}

// Plug puts the USB stick of an image in, which the box can only read.
func (r *Run) Plug(ctx context.Context, image string) error {
	medium := map[string]any{"driver": "file", "node-name": stick, "read-only": true, "filename": image}
	if err := r.monitor(ctx, "blockdev-add", medium, nil); err != nil {
		return err
	}
	return r.monitor(ctx, "device_add", map[string]any{"driver": "usb-storage", "id": stick, "bus": "usb.0", "drive": stick}, nil)
}

// stick is QEMU's name of it.
const stick = "stick"

// Written is how many bytes the box has written to its disk since it was
// switched on.
func (r *Run) Written(ctx context.Context) (int64, error) {
	var devices []struct {
		NodeName string `json:"node-name"`
		QDev     string
		Stats    struct {
			Bytes int64 `json:"wr_bytes"`
		}
		Inserted json.RawMessage
	}
	if err := r.monitor(ctx, "query-blockstats", nil, &devices); err != nil {
		return 0, err
	}
	for _, d := range devices {
		if d.NodeName == "disk" || d.QDev == "/machine/peripheral-anon/disk" {
			return d.Stats.Bytes, nil
		}
	}
	return 0, fmt.Errorf("harness: monitor: no statistics of the disk among %d", len(devices))
}
