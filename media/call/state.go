// SPDX-License-Identifier: Apache-2.0

package call

// State is the stage of a call.
//
//	        start           accepted         admitted
//	Idle ----------> Calling --------> Joining ------> Connected
//	 |  \  ring             answer       ^   |             |
//	 |   +--------> Ringing -------------+   | lobby       |
//	 |  resume                  admitted     v             |
//	 +-------------> Reconnecting ----+   InLobby          |
//	 |                                +------+--admitted-->+
//	 |                                                     |
//	 |  done                        leave                  |
//	 +<-------------- Leaving <----------------------------+
//
// What is not drawn: leave or failed ends every state. From those in which
// others may have to hear of it, Calling and Connected, leave leads through
// Leaving; what fails ends in Idle at once, with its reason.
type State int

// The states of a call, as the panel's API names them.
const (
	Idle         State = iota // no group, no keys, no media
	Calling                   // alone in a new group; the other room rings
	Ringing                   // another room calls this one
	Joining                   // on the way into a group
	InLobby                   // a member must admit this room
	Reconnecting              // on the way back into the group that a restart took this room out of
	Connected                 // member of the group; the only state in which media may flow
	Leaving                   // the others are being told
)

var stateNames = [...]string{"Idle", "Calling", "Ringing", "Joining", "InLobby", "Reconnecting", "Connected", "Leaving"}

// String returns the name of the state.
func (s State) String() string { return stateNames[s] }

type trigger int

const (
	onStart    trigger = iota // a person calls a room
	onRing                    // a room calls this one
	onResume                  // a call went on when this room went down
	onAnswer                  // a person answers
	onLobby                   // the KeyPackage waits for a person of the meeting
	onAdmitted                // the group has this room and another one
	onLeave                   // a person leaves, declines or cancels
	onFailed                  // it cannot go on; there is a reason
	onDone                    // the others were told
)

var triggerNames = [...]string{"start", "ring", "resume", "answer", "lobby", "admitted", "leave", "failed", "done"}

func (t trigger) String() string { return triggerNames[t] }

type edge struct {
	from State
	on   trigger
}

// edges is the whole life of a call. A trigger without an edge is ignored: a
// second touch on Leave, or an answer that crosses our cancelling, is normal.
var edges = map[edge]State{
	{Idle, onStart}:  Calling,
	{Idle, onRing}:   Ringing,
	{Idle, onResume}: Reconnecting,

	{Calling, onAdmitted}: Connected,
	{Calling, onLeave}:    Leaving,
	{Calling, onFailed}:   Idle,

	{Ringing, onAnswer}: Joining,
	{Ringing, onLeave}:  Idle,
	{Ringing, onFailed}: Idle,

	{Joining, onLobby}:    InLobby,
	{Joining, onAdmitted}: Connected,
	{Joining, onLeave}:    Idle,
	{Joining, onFailed}:   Idle,

	{InLobby, onAdmitted}: Connected,
	{InLobby, onLeave}:    Idle,
	{InLobby, onFailed}:   Idle,

	{Reconnecting, onAdmitted}: Connected,
	{Reconnecting, onLeave}:    Idle,
	{Reconnecting, onFailed}:   Idle,

	{Connected, onLeave}:  Leaving,
	{Connected, onFailed}: Idle,

	{Leaving, onDone}:   Idle,
	{Leaving, onFailed}: Idle,
}
