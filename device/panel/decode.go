// SPDX-License-Identifier: Apache-2.0

package panel

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

const (
	maxRequest = 64 << 10 // bytes
	maxDepth   = 16       // levels of arrays and objects
)

// parse decodes one JSON text (RFC 8259) strictly: UTF-8, no duplicate keys, at
// most 16 levels, nothing behind it. Objects are map[string]any, numbers
// json.Number.
func parse(data []byte) (any, *Refusal) {
	if !utf8.Valid(data) || !json.Valid(data) {
		return nil, refusef(ParseError, "not one JSON text in UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	return next(dec, 0)
}

// next decodes one value. The text is known to be valid, so every bracket has
// its partner.
func next(dec *json.Decoder, depth int) (any, *Refusal) {
	t, err := dec.Token()
	if err != nil {
		return nil, refusef(ParseError, "not one JSON text")
	}
	open, ok := t.(json.Delim)
	if !ok {
		return t, nil
	}
	if depth++; depth > maxDepth {
		return nil, refusef(ParseError, "more than %d levels", maxDepth)
	}
	if open == '[' {
		out := []any{}
		for dec.More() {
			v, refusal := next(dec, depth)
			if refusal != nil {
				return nil, refusal
			}
			out = append(out, v)
		}
		_, _ = dec.Token() // the closing bracket
		return out, nil
	}
	out := map[string]any{}
	for dec.More() {
		t, err := dec.Token()
		key, ok := t.(string)
		if err != nil || !ok {
			return nil, refusef(ParseError, "not one JSON text")
		}
		if _, twice := out[key]; twice {
			return nil, refusef(ParseError, "a key stands twice in one object")
		}
		v, refusal := next(dec, depth)
		if refusal != nil {
			return nil, refusal
		}
		out[key] = v
	}
	_, _ = dec.Token() // the closing brace
	return out, nil
}

// A request is one call of JSON-RPC 2.0.
type request struct {
	id     json.RawMessage // a string or a whole number
	method string
	params map[string]any
}

// nullID answers a request whose own id could not be read (JSON-RPC 2.0,
// section 5).
var nullID = json.RawMessage("null")

// parseRequest decodes a message of a client. The request it returns with a
// refusal has the id to answer to.
func parseRequest(data []byte) (request, *Refusal) {
	req := request{id: nullID}
	v, refusal := parse(data)
	if refusal != nil {
		return req, refusal
	}
	members, ok := v.(map[string]any)
	if !ok {
		return req, refusef(InvalidRequest, "not one object; there are no batches")
	}
	switch id := members["id"].(type) {
	case string:
		if len(id) > 64 {
			return req, refusef(InvalidRequest, "the id is longer than 64 bytes")
		}
		req.id, _ = encode(id) // a string always encodes
	case json.Number:
		if _, err := id.Int64(); err != nil {
			return req, refusef(InvalidRequest, "the id is not a whole number")
		}
		req.id = json.RawMessage(id)
	default:
		return req, refusef(InvalidRequest, "the id is missing, or no string or number")
	}
	for name := range members {
		switch name {
		case "jsonrpc", "id", "method", "params":
		default:
			return req, refusef(InvalidRequest, "a member that JSON-RPC 2.0 does not know")
		}
	}
	if members["jsonrpc"] != "2.0" {
		return req, refusef(InvalidRequest, "jsonrpc is not \"2.0\"")
	}
	if req.method, ok = members["method"].(string); !ok {
		return req, refusef(InvalidRequest, "the method is missing, or no string")
	}
	params, has := members["params"]
	if !has {
		req.params = map[string]any{}
		return req, nil
	}
	if req.params, ok = params.(map[string]any); !ok {
		return req, refusef(InvalidParams, "params must be an object")
	}
	return req, nil
}

// fitFields checks members against the declared fields: all that are required,
// and no others.
func fitFields(fields []Field, members map[string]any) (map[string]any, *Refusal) {
	out := make(map[string]any, len(members))
	for _, f := range fields {
		v, has := members[f.Name]
		if !has {
			if f.Optional {
				continue
			}
			return nil, refusef(InvalidParams, "%s is missing", f.Name)
		}
		kept, refusal := f.Type.fit(v)
		if refusal != nil {
			refusal.Detail = f.Name + " " + refusal.Detail
			refusal.Path = f.Name
			return nil, refusal
		}
		out[f.Name] = kept
	}
	if len(out) != len(members) {
		names := make([]string, len(fields))
		for i, f := range fields {
			names[i] = f.Name
		}
		return nil, refusef(InvalidParams, "there are parameters other than %q", strings.Join(names, ", "))
	}
	return out, nil
}

// readLimited reads a message of at most 64 KiB. It reads on to the end of what
// is longer, so that the answer reaches a client that still sends.
func readLimited(r io.Reader) ([]byte, *Refusal, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxRequest+1))
	if err != nil {
		return nil, nil, err
	}
	if len(data) <= maxRequest {
		return data, nil, nil
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		return nil, nil, fmt.Errorf("message too long: %w", err)
	}
	return nil, refusef(InvalidRequest, "a request has at most %d bytes", maxRequest), nil
}
