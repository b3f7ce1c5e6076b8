// SPDX-License-Identifier: Apache-2.0

package signal

// A Room says who a connection belongs to, as in its TLS certificate: the
// relay fills it in, no room states it for itself.
type Room struct {
	_    struct{} `cbor:",toarray"`
	Name string
	Site string
}

// The requests of a client. A fresh connection sends Open, Rejoin, Attach or
// Ring; what else it may send depends on which of them succeeded.
type (
	// Open creates a meeting at an epoch, or takes it up again: a lower epoch
	// than the relay has seen is Stale, the same continues the log, a higher
	// one begins a new log and closes all other connections of the meeting.
	// Members are the rooms that the group already has and that may Rejoin a
	// new log from its first message: so a meeting moves to another relay.
	// Answered by Opened. The connection is a member's from then on.
	Open struct {
		_       struct{} `cbor:",toarray"`
		Meeting []byte
		Epoch   uint64
		Members []Room
	}

	// Attach enters the lobby of a meeting. Answered by Attached.
	Attach struct {
		_       struct{} `cbor:",toarray"`
		Meeting []byte
	}

	// Knock asks the members, from the lobby, to add the room whose fresh
	// KeyPackage (an MLSMessage) this is. Answered by Welcomed or Refused, in
	// as much time as the members take.
	Knock struct {
		_          struct{} `cbor:",toarray"`
		KeyPackage []byte
	}

	// Rejoin takes a member's place again after its connection broke. Seq is
	// that of the first message it has not seen. Answered by Opened, then by
	// the messages it missed.
	Rejoin struct {
		_       struct{} `cbor:",toarray"`
		Meeting []byte
		Seq     uint64
	}

	// Commit competes for the commit slot of Epoch. The Welcomes leave only
	// once it holds the slot. Answered by Accepted or Stale.
	Commit struct {
		_        struct{} `cbor:",toarray"`
		Epoch    uint64
		Message  []byte
		Welcomes []Welcome
	}

	// Submit puts an application message or a proposal into the log. Answered
	// by Accepted, or Stale if its epoch is no longer taken.
	Submit struct {
		_       struct{} `cbor:",toarray"`
		Message []byte
	}

	// Refuse turns a knocking room away. Answered by Done.
	Refuse struct {
		_      struct{} `cbor:",toarray"`
		Knock  uint64
		Reason Reason
	}

	// Evict ends the connection of a room that a commit removed. Only the room
	// that opened the meeting may. Answered by Done.
	Evict struct {
		_    struct{} `cbor:",toarray"`
		Room Room
	}

	// Fresh states the epoch handle (RFC 9334, Section 10.3) to which newcomers
	// bind their evidence. A member sends it in each epoch; the relay hands the
	// newest one to who attaches, and knows nothing of what it means. Answered
	// by Done.
	Fresh struct {
		_      struct{} `cbor:",toarray"`
		Handle []byte
	}

	// Leave gives up the membership, the knock or the place in the lobby; the
	// connection is a fresh one afterwards. Answered by Done.
	Leave struct {
		_ struct{} `cbor:",toarray"`
	}

	// Ring calls the room that owns this relay to a meeting. Who calls is in
	// the certificate of the connection. Answered by Ringing, then by Answered
	// or Declined.
	Ring struct {
		_       struct{} `cbor:",toarray"`
		Meeting []byte
		Relay   string   // address of the meeting's relay, host:port
		Key     [32]byte // SHA-256 of that relay's SubjectPublicKeyInfo
	}

	// Cancel ends the ring that this connection has. Answered by Done, after
	// which the Ring gets no more answers.
	Cancel struct {
		_ struct{} `cbor:",toarray"`
	}
)

// A Welcome is an MLS Welcome and the knock that it answers.
type Welcome struct {
	_       struct{} `cbor:",toarray"`
	Knock   uint64
	Message []byte
}

// The answers of a relay.
type (
	// Opened makes the connection a member's. Epoch is the meeting's; Seq is
	// that of the first Ordered message that follows.
	Opened struct {
		_     struct{} `cbor:",toarray"`
		Epoch uint64
		Seq   uint64
	}

	// Done says that a request was carried out.
	Done struct {
		_ struct{} `cbor:",toarray"`
	}

	// Attached lets a room into the lobby. Handle is what a member stated last
	// by Fresh, empty if nobody did.
	Attached struct {
		_      struct{} `cbor:",toarray"`
		Handle []byte
	}

	// Accepted says where in the log a message went.
	Accepted struct {
		_   struct{} `cbor:",toarray"`
		Seq uint64
	}

	// Stale says that the meeting is at Epoch, and which message of the log
	// brought it there; 0 if the meeting was opened at this epoch.
	Stale struct {
		_     struct{} `cbor:",toarray"`
		Epoch uint64
		Seq   uint64
	}

	// Welcomed carries the MLS Welcome to the room that knocked, which is a
	// member from now on. Seq is that of the first Ordered message it will get,
	// the one after the commit that added it.
	Welcomed struct {
		_       struct{} `cbor:",toarray"`
		Message []byte
		Seq     uint64
	}

	// Refused tells the room that knocked that it was turned away.
	Refused struct {
		_      struct{} `cbor:",toarray"`
		Reason Reason
	}

	// Ringing says that the called room was told of the call.
	Ringing struct {
		_ struct{} `cbor:",toarray"`
	}

	// Answered says that the called room will come to the meeting.
	Answered struct {
		_ struct{} `cbor:",toarray"`
	}

	// Declined says that it will not.
	Declined struct {
		_      struct{} `cbor:",toarray"`
		Reason Reason
	}

	// Error answers a request that changed nothing. Detail is for a log.
	Error struct {
		_      struct{} `cbor:",toarray"`
		Code   Code
		Detail string
	}
)

// What a relay sends to members unasked.
type (
	// Ordered is one message of the meeting's log, the same for all members,
	// the sender included. Seq begins at 1 and has no gaps.
	Ordered struct {
		_       struct{} `cbor:",toarray"`
		Seq     uint64
		Message []byte
	}

	// Knocked says that a room asks to be added. A relay never uses a number
	// of a knock twice.
	Knocked struct {
		_          struct{} `cbor:",toarray"`
		Knock      uint64
		Room       Room
		KeyPackage []byte
	}

	// KnockEnded says that a knock can no longer be answered, and why:
	// welcomed, refused or left.
	KnockEnded struct {
		_      struct{} `cbor:",toarray"`
		Knock  uint64
		Reason Reason
	}

	// Presence says whether the relay has a live connection to a member.
	Presence struct {
		_         struct{} `cbor:",toarray"`
		Room      Room
		Connected bool
	}

	// Gone says that a room is no longer served as a member, and why: left,
	// removed, or lost (it did not rejoin in time).
	Gone struct {
		_      struct{} `cbor:",toarray"`
		Room   Room
		Reason Reason
	}

	// Closed is the last message of a connection that the relay closes.
	Closed struct {
		_      struct{} `cbor:",toarray"`
		Reason Reason
	}
)

// A Beat says that its sender lives. Both sides send one a second, so that a
// side that is silent for longer is known to be gone.
type Beat struct {
	_ struct{} `cbor:",toarray"`
}

func (Open) kind() Kind       { return KindOpen }
func (Attach) kind() Kind     { return KindAttach }
func (Knock) kind() Kind      { return KindKnock }
func (Rejoin) kind() Kind     { return KindRejoin }
func (Commit) kind() Kind     { return KindCommit }
func (Submit) kind() Kind     { return KindSubmit }
func (Refuse) kind() Kind     { return KindRefuse }
func (Evict) kind() Kind      { return KindEvict }
func (Leave) kind() Kind      { return KindLeave }
func (Ring) kind() Kind       { return KindRing }
func (Cancel) kind() Kind     { return KindCancel }
func (Fresh) kind() Kind      { return KindFresh }
func (Opened) kind() Kind     { return KindOpened }
func (Done) kind() Kind       { return KindDone }
func (Accepted) kind() Kind   { return KindAccepted }
func (Stale) kind() Kind      { return KindStale }
func (Welcomed) kind() Kind   { return KindWelcomed }
func (Refused) kind() Kind    { return KindRefused }
func (Ringing) kind() Kind    { return KindRinging }
func (Answered) kind() Kind   { return KindAnswered }
func (Declined) kind() Kind   { return KindDeclined }
func (Error) kind() Kind      { return KindError }
func (Attached) kind() Kind   { return KindAttached }
func (Ordered) kind() Kind    { return KindOrdered }
func (Knocked) kind() Kind    { return KindKnocked }
func (KnockEnded) kind() Kind { return KindKnockEnded }
func (Presence) kind() Kind   { return KindPresence }
func (Gone) kind() Kind       { return KindGone }
func (Closed) kind() Kind     { return KindClosed }
func (Beat) kind() Kind       { return KindBeat }
