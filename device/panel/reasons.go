// SPDX-License-Identifier: Apache-2.0

package panel

import (
	"errors"
	"fmt"
	"time"
)

// A Reason names an error for programs. Reasons and their codes are stable.
type Reason string

// Every reason there is.
const (
	ParseError             Reason = "parse_error"
	InvalidRequest         Reason = "invalid_request"
	UnknownMethod          Reason = "unknown_method"
	InvalidParams          Reason = "invalid_params"
	ValueOutOfRange        Reason = "value_out_of_range"
	Internal               Reason = "internal"
	NotAuthenticated       Reason = "not_authenticated"
	ForbiddenRole          Reason = "forbidden_role"
	NotPaired              Reason = "not_paired"
	RateLimited            Reason = "rate_limited"
	UnknownPath            Reason = "unknown_path"
	ReadOnly               Reason = "read_only"
	Conflict               Reason = "conflict"
	NotSupportedByHardware Reason = "not_supported_by_hardware"
	BusyInCall             Reason = "busy_in_call"
	DeviceMissing          Reason = "device_missing"
	Timeout                Reason = "timeout"
	UpstreamUnreachable    Reason = "upstream_unreachable"
	NotAttested            Reason = "not_attested"
	E2EEPolicyRefused      Reason = "e2ee_policy_refused"
	HardwareMuteActive     Reason = "hardware_mute_active"
	CameraCovered          Reason = "camera_covered"
	NotInCall              Reason = "not_in_call"
	TargetChanged          Reason = "target_changed"
	PairingClosed          Reason = "pairing_closed"
	PairingLocked          Reason = "pairing_locked"
	TimeUntrusted          Reason = "time_untrusted"
	StorageFailed          Reason = "storage_failed"
	UpdateRefused          Reason = "update_refused"
	ShuttingDown           Reason = "shutting_down"
)

// A meaning is what a reason looks like on the wire and to people.
type meaning struct {
	code      int // of JSON-RPC
	status    int // of HTTP
	retryable bool
	title     string
	remedy    string
}

var meanings = map[Reason]meaning{
	ParseError:             {-32700, 400, false, "Not JSON", "Send one JSON text in UTF-8, without duplicate keys, at most 16 levels deep."},
	InvalidRequest:         {-32600, 400, false, "Not a request", "Send one JSON-RPC 2.0 request with an id, of at most 64 KiB; no batches and no other members."},
	UnknownMethod:          {-32601, 404, false, "No such method", "Look up the method in the room's interface description. Names are case-sensitive."},
	InvalidParams:          {-32602, 422, false, "Wrong parameters", "Send the parameters that the method declares and no others."},
	ValueOutOfRange:        {-32602, 422, false, "Value out of range", "Send a value between the bounds that the answer names."},
	Internal:               {-32603, 500, true, "The room failed", "Try again. If it stays, give the correlation id to whoever looks after the room."},
	NotAuthenticated:       {1001, 401, false, "Not signed in", "Connect again and prove the panel's key."},
	ForbiddenRole:          {1002, 403, false, "Not allowed", "Ask for a panel with the role that this needs."},
	NotPaired:              {1003, 403, false, "Not paired", "Pair this panel with the room."},
	RateLimited:            {1004, 429, true, "Too many requests", "Wait for the time that the answer names, then try again."},
	UnknownPath:            {1005, 404, false, "No such node", "Look up the path in the room's interface description."},
	ReadOnly:               {1006, 405, false, "Cannot be written", "This can be read only."},
	Conflict:               {1007, 409, false, "Conflict", "Read the present state and decide again."},
	NotSupportedByHardware: {1008, 422, false, "This room cannot do that", "The device for it is not part of this room."},
	BusyInCall:             {1009, 409, true, "Busy in a call", "End the present call first."},
	DeviceMissing:          {1010, 503, true, "A device is missing", "Check the cable of the device that the answer names."},
	Timeout:                {1011, 504, true, "It took too long", "Look at the present state, then try again."},
	UpstreamUnreachable:    {1012, 502, true, "Not reachable", "Check the network between the rooms, then try again."},
	NotAttested:            {1013, 403, false, "Not attested", "The room could not prove its software. Ask whoever looks after security."},
	E2EEPolicyRefused:      {1014, 403, false, "Refused by the encryption policy", "The meeting would be protected less than this room requires."},
	HardwareMuteActive:     {1015, 409, false, "Muted by the key", "Press the mute key at the microphone."},
	CameraCovered:          {1016, 409, false, "The camera is covered", "Open the cover of the camera."},
	NotInCall:              {1017, 409, false, "Not in a call", "There is no call to act on."},
	TargetChanged:          {1018, 410, false, "It has changed", "What you saw is no longer there. Look again, then decide."},
	PairingClosed:          {1019, 403, false, "Pairing is closed", "Open the pairing window at the room."},
	PairingLocked:          {1020, 429, true, "Pairing is locked", "Wait for the time that the answer names."},
	TimeUntrusted:          {1021, 503, true, "The clock is not trusted", "Check the room's time source."},
	StorageFailed:          {1022, 507, true, "Storage failed", "Call whoever looks after the room."},
	UpdateRefused:          {1023, 422, false, "Update refused", "Use an update that is signed for this room and not older than its floor."},
	ShuttingDown:           {1024, 503, true, "The room is restarting", "Wait a moment; the panel comes back by itself."},
}

// A Refusal is an error that a client is told. Panels have words for its Reason
// in each language.
type Refusal struct {
	Reason     Reason
	Detail     string        // plain English for people; empty: the title of the reason
	Path       string        // of the node that is to blame, if one is
	Min, Max   int           // bounds of a value, when Reason is ValueOutOfRange
	RetryAfter time.Duration // when trying again makes sense; 0: not known
	Err        error         // for the log alone
}

func (e *Refusal) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%s: %v", e.Reason, e.Err)
	}
	if e.Detail != "" {
		return fmt.Sprintf("%s: %s", e.Reason, e.Detail)
	}
	return string(e.Reason)
}

// Unwrap returns the cause.
func (e *Refusal) Unwrap() error { return e.Err }

// Refuse makes a refusal with nothing but a reason.
func Refuse(r Reason) error { return &Refusal{Reason: r} }

func refusef(r Reason, format string, args ...any) *Refusal {
	return &Refusal{Reason: r, Detail: fmt.Sprintf(format, args...)}
}

// refusalOf makes what may be told of any error. An unknown reason is a mistake
// of ours and no news for a client.
func refusalOf(err error) *Refusal {
	r, ok := errors.AsType[*Refusal](err)
	if !ok {
		return &Refusal{Reason: Internal, Err: err}
	}
	if _, known := meanings[r.Reason]; !known {
		return &Refusal{Reason: Internal, Err: err}
	}
	return r
}

func (e *Refusal) detail() string {
	if e.Detail != "" {
		return e.Detail
	}
	return meanings[e.Reason].title
}

// An errorData is the data member of a JSON-RPC error.
type errorData struct {
	Reason        Reason
	Path          string `json:",omitempty"`
	Min           *int   `json:",omitempty"`
	Max           *int   `json:",omitempty"`
	Retryable     bool
	RetryAfterMs  int64  `json:",omitempty"`
	CorrelationID string `json:"CorrelationId,omitempty"`
}

func (e *Refusal) data(correlation string) errorData {
	d := errorData{
		Reason:        e.Reason,
		Path:          e.Path,
		Retryable:     meanings[e.Reason].retryable,
		RetryAfterMs:  e.RetryAfter.Milliseconds(),
		CorrelationID: correlation,
	}
	if e.Reason == ValueOutOfRange && e.Min < e.Max {
		d.Min, d.Max = &e.Min, &e.Max
	}
	return d
}
