// SPDX-License-Identifier: Apache-2.0

package panel

import (
	"slices"
	"strings"
)

// A Role is what a client may do: a set, as one client may hold several
// (RolePanel|RoleFacilities). Guest is part of Panel, and Panel is part of
// Facilities and of Security; those two do not include each other.
type Role int

// The roles. RoleNone reads what everybody may.
const (
	RoleNone  Role = 0
	RoleGuest Role = 1 << (iota - 1)
	RolePanel
	RoleFacilities
	RoleSecurity
)

// String names the roles that no other of the set includes, such as "Panel" or
// "Facilities+Security".
func (r Role) String() string {
	var names []string
	for role, name := range map[Role]string{RoleFacilities: "Facilities", RoleSecurity: "Security"} {
		if r&role != 0 {
			names = append(names, name)
		}
	}
	switch {
	case names != nil:
		slices.Sort(names)
		return strings.Join(names, "+")
	case r&RolePanel != 0:
		return "Panel"
	case r&RoleGuest != 0:
		return "Guest"
	}
	return "None"
}

// includes reports whether a client with the roles r may do what needs the one
// role.
func (r Role) includes(need Role) bool {
	switch need {
	case RoleNone:
		return true
	case RoleGuest, RolePanel:
		return r >= need
	case RoleFacilities, RoleSecurity:
		return r&need != 0
	}
	return false
}

// A Kind is what a node is for.
type Kind int

// The kinds. Only a command is asked for; all else is told.
const (
	Value   Kind = iota // a leaf of Status
	Command             // something to do
	Event               // something that happens once
)

// A Base is how a value is written in JSON.
type Base int

// The bases.
const (
	Text    Base = iota // string
	Number              // integer
	Flag                // true or false
	Instant             // string, RFC 3339 in UTC
	Texts               // array of strings
)

// A Type is a base with its bounds.
type Type struct {
	Base     Base
	Of       []string // the only texts allowed, if any
	Min, Max int      // of a number; Max of a text is in runes, of texts in entries
}

// A Field is a parameter of a command or a member of an event.
type Field struct {
	Name     string
	Type     Type
	Optional bool
	Text     string
}

// A Node is one name of the tree. In its path an id of a collection is "+".
type Node struct {
	Path     string
	Kind     Kind
	Type     Type // of a value
	Role     Role // the least that may read or do it
	Explicit bool // left out of wildcards: a query must name it
	Fields   []Field
	Text     string // what it means, for the reference
}

const (
	maxText    = 200 // runes: longer than any name on a door
	maxEntries = 16  // of a list in one leaf
	maxSeconds = 1<<31 - 1
	maxEpoch   = 1<<53 - 1 // what a script language counts exactly
)

var (
	text     = Type{Base: Text, Max: maxText}
	texts    = Type{Base: Texts, Max: maxEntries}
	flag     = Type{Base: Flag}
	instant  = Type{Base: Instant}
	seconds  = Type{Base: Number, Max: maxSeconds}
	verdict  = oneOf("affirming", "warning", "contraindicated", "none")
	percent  = Type{Base: Number, Max: 100}
	callID   = []Field{{Name: "CallId", Type: text, Text: "the call that the person saw"}}
	callPeer = []Field{
		{Name: "CallId", Type: text, Text: "the call"},
		{Name: "Room", Type: text, Optional: true, Text: "the other room, by its id of the directory"},
		{Name: "Name", Type: text, Optional: true, Text: "the other room's name"},
	}
	shown = []Field{
		{Name: "Id", Type: text, Text: "who waits"},
		{Name: "Credential", Type: text, Text: "the credential that the person saw"},
	}
)

func oneOf(words ...string) Type { return Type{Base: Text, Of: words, Max: maxText} }

func value(path string, t Type, words string) Node {
	return Node{Path: "Status/" + path, Kind: Value, Type: t, Role: RolePanel, Text: words}
}

func guestValue(path string, t Type, words string) Node {
	n := value(path, t, words)
	n.Role = RoleGuest
	return n
}

func todo(path string, role Role, words string, fields ...Field) Node {
	return Node{Path: "Command/" + path, Kind: Command, Role: role, Text: words, Fields: fields}
}

func event(path, words string, fields ...Field) Node {
	return Node{Path: "Event/" + path, Kind: Event, Role: RolePanel, Text: words, Fields: fields}
}

func with(fields []Field, more ...Field) []Field {
	return append(fields[:len(fields):len(fields)], more...)
}

// Nodes returns every name of the tree, in the order of the reference.
func Nodes() []Node { return append([]Node(nil), nodes...) }

var roomNodes = []Node{
	{Path: "Status/System/Name", Type: text, Text: "what people call the room"},
	value("System/Id", text, "the room's stable id"),
	value("System/Version", text, "of the firmware"),
	value("System/BootId", text, "changes with every start; Seq counts from it"),
	{Path: "Status/System/UptimeS", Type: seconds, Role: RolePanel, Explicit: true, Text: "seconds since the start; read it, it sends no deltas"},

	todo("Call/Start", RolePanel, "ring a room, or invite it to the present meeting", Field{Name: "Room", Type: text, Text: "id of the directory"}),
	todo("Call/Answer", RolePanel, "take the call that rings here", callID...),
	todo("Call/Decline", RolePanel, "turn down the call that rings here", callID...),
	todo("Call/Leave", RoleGuest, "leave, or withdraw a call that rings or joins", callID...),
	todo("Call/EndForAll", RolePanel, "end the meeting for every room", callID...),
	guestValue("Call/State", oneOf("Idle", "Ringing", "Joining", "InLobby", "Connected", "Reconnecting", "Leaving"), "where the call is"),
	guestValue("Call/Direction", oneOf("Incoming", "Outgoing"), "who rang; absent without a call"),
	guestValue("Call/Step", oneOf("Asking", "Waiting", "Connecting"), "what joining is doing"),
	guestValue("Call/CallId", text, "of the present call"),
	guestValue("Call/Meeting", text, "the meeting's name or id"),
	guestValue("Call/Peer/Room", text, "the other room, by its id of the directory"),
	guestValue("Call/Peer/Name", text, "the other room's name"),
	guestValue("Call/Peer/Site", text, "the other room's site"),
	guestValue("Call/Since", instant, "when the state began; in a call, when it connected"),
	guestValue("Call/Epoch", Type{Base: Number, Max: maxEpoch}, "of the MLS group"),
	guestValue("Call/SecurityCode/Code", text, "30 digits, the same on every panel of an honest meeting"),
	guestValue("Call/SecurityCode/Since", instant, "when it became this"),
	guestValue("Call/SecurityCode/Previous", text, "the code before, to be shown struck out"),
	guestValue("Call/SecurityCode/Why", oneOf("Started", "Joined", "Left", "Removed", "Returned", "Renewed"), "why it changed"),
	guestValue("Call/SecurityCode/Who", text, "the room that joined, left or came back"),
	guestValue("Call/Suite", text, "of the MLS group"),
	guestValue("Call/MediaPath/In", text, "how sound and picture come: Direct, Relayed or None"),
	guestValue("Call/MediaPath/Out", text, "how they go"),
	guestValue("Call/Codecs", texts, "in use"),
	event("Call/Incoming", "a call rings here", callPeer...),
	event("Call/Joined", "this room is in the meeting", callPeer...),
	event("Call/Left", "this room is out of the meeting", with(callPeer,
		Field{Name: "Reason", Type: oneOf("Asked", "Ended", "Removed", "Lost", "Failed"), Text: "why"})...),
	event("Call/EpochChanged", "the group has new keys", Field{Name: "Epoch", Type: Type{Base: Number, Max: maxEpoch}, Text: "the new one"}),
	event("Call/Refused", "a call came to nothing", with(callPeer,
		Field{Name: "Reason", Type: oneOf("Declined", "Busy", "NoAnswer", "Cancelled", "Unreachable", "NotAdmitted", "NotAttested", "NotProved", "Policy", "Failed"), Text: "why; NotAttested is about the other room's software, NotProved about this one's"},
		Field{Name: "Detail", Type: text, Optional: true, Text: "code of what is wrong with the other room's evidence"})...),

	todo("Roster/Remove", RolePanel, "put a room out of the meeting",
		Field{Name: "Member", Type: text, Text: "id in the roster"},
		Field{Name: "Credential", Type: text, Text: "the credential that the person saw"}),
	guestValue("Roster/Members/+/Name", text, "as its certificate says"),
	guestValue("Roster/Members/+/Site", text, "whose authority certified it"),
	guestValue("Roster/Members/+/Credential", text, "hash of its certificate"),
	guestValue("Roster/Members/+/Verdict", verdict, "the verifier's tier; none: not attested"),
	guestValue("Roster/Members/+/VerdictAgeS", seconds, "age of the verdict"),
	guestValue("Roster/Members/+/Release", text, "the software it proved to run"),
	guestValue("Roster/Members/+/VerdictReason", text, "code of what is wrong with its evidence, in the verifier's words"),
	guestValue("Roster/Members/+/SaysMuted", flag, "its own claim"),
	guestValue("Roster/Members/+/SaysCameraOff", flag, "its own claim"),
	guestValue("Roster/Members/+/Heard", flag, "what we measured: sound comes from it"),
	guestValue("Roster/Members/+/Link", oneOf("Connecting", "Good", "Weak", "Lost"), "of the media from it"),
	guestValue("Roster/Members/+/Self", flag, "this room"),
	event("Roster/MemberAdded", "a room came into the group", Field{Name: "Name", Type: text, Text: "its name"}),
	event("Roster/MemberRemoved", "a room is out of the group", Field{Name: "Name", Type: text, Text: "its name"}),

	todo("Lobby/Admit", RolePanel, "let a room in", shown...),
	todo("Lobby/Refuse", RolePanel, "turn a room away", shown...),
	value("Lobby/Waiting/+/Name", text, "as its certificate says"),
	value("Lobby/Waiting/+/Site", text, "whose authority certified it"),
	value("Lobby/Waiting/+/Credential", text, "hash of its certificate"),
	value("Lobby/Waiting/+/Verdict", verdict, "the verifier's tier; none: not attested"),
	value("Lobby/Waiting/+/VerdictReason", text, "code of what is wrong with its evidence"),
	value("Lobby/Waiting/+/Why", oneOf("NotInvited", "OtherSite", "NotAttested", "AlwaysAsk"), "why a person must decide"),
	value("Lobby/Waiting/+/Since", instant, "when it knocked"),
	event("Lobby/Knocked", "a room waits", Field{Name: "Id", Type: text, Text: "in Waiting"}),
	event("Lobby/Withdrawn", "a room waits no longer", Field{Name: "Id", Type: text, Text: "it had"}),

	todo("Audio/Mute", RoleGuest, "silence the room"),
	todo("Audio/Unmute", RolePanel, "clear the panels' mute"),
	todo("Audio/SetVolume", RoleGuest, "set the loudspeaker", Field{Name: "Volume", Type: percent, Text: "percent"}),
	todo("Audio/StepVolume", RoleGuest, "louder or softer", Field{Name: "Steps", Type: Type{Base: Number, Min: -20, Max: 20}, Text: "of the loudspeaker's scale, down when negative"}),
	guestValue("Audio/Mute/State", oneOf("On", "Off"), "whether anything asks for silence"),
	guestValue("Audio/Mute/Sources", texts, "what asks for it: Panel, HardwareKey"),
	guestValue("Audio/Silent", flag, "nothing of this room is heard elsewhere: measured where sound leaves"),
	guestValue("Audio/Volume", percent, "of the loudspeaker"),
	{Path: "Status/Audio/Levels/In", Type: percent, Role: RoleGuest, Explicit: true, Text: "microphone, at most 10 times a second"},
	{Path: "Status/Audio/Levels/Out", Type: percent, Role: RoleGuest, Explicit: true, Text: "loudspeaker, at most 10 times a second"},

	todo("Video/CameraOff", RoleGuest, "stop sending the camera"),
	todo("Video/CameraOn", RolePanel, "send the camera in a call"),
	todo("Video/SetSelfview", RolePanel, "show this room on its own stage", Field{Name: "On", Type: flag, Text: "show it"}),
	guestValue("Video/Camera/Sending", flag, "the camera is meant to be sent in a call"),
	guestValue("Video/Camera/Cover", oneOf("Open", "Closed", "None", "Missing"), "what the camera says; None: it has no cover; Missing: there is no camera"),
	guestValue("Video/Selfview", flag, "this room is on its own stage"),

	todo("Stage/SetLayout", RoleGuest, "arrange the stage", Field{Name: "Layout", Type: layouts, Text: "how"}),
	guestValue("Stage/Layout", layouts, "how the stage is arranged"),

	value("Directory/Rooms/+/Name", text, "of a room that can be called"),
	value("Directory/Rooms/+/Site", text, "its site"),

	value("Diagnostics/Conditions/+/Severity", oneOf("Info", "Warning", "Error"), "how bad"),
	value("Diagnostics/Conditions/+/Since", instant, "from when"),
	value("Diagnostics/Conditions/+/Remedy", text, "what to do, in plain English; panels translate by the condition's name"),

	value("System/Serial", text, "on the plate of the box; a factory reset asks for it"),
	value("System/Language", languages, "of the panels, unless the address says ?lang="),
	todo("System/SetName", RoleFacilities, "name the room", Field{Name: "Name", Type: name, Text: "for people"}),
	todo("System/SetLanguage", RoleFacilities, "choose the language of the panels", Field{Name: "Language", Type: languages, Text: "which"}),
	todo("System/Restart", RoleFacilities, "start the box anew"),
	todo("System/FactoryReset", RoleFacilities, "destroy the box's keys and start it as new",
		Field{Name: "Serial", Type: text, Text: "System/Serial, as the person read it"}),

	value("Setup/State", oneOf("Needed", "Enrolling", "Waiting", "Done"), "of the first set-up; absent: this room does not set itself up; Waiting: for the site's staff"),
	value("Setup/Detail", text, "what it is at, in plain English"),

	todo("Enrolment/Start", RoleFacilities, "join the site of an invitation", Field{Name: "Invitation", Type: invitation, Text: "the line that the site's staff gave"}),
	value("Enrolment/State", oneOf("None", "Enrolling", "Waiting", "Enrolled"), "the room's place in a site"),
	value("Enrolment/Site", text, "its name"),
	value("Enrolment/Chip", text, "hash of the security chip's endorsement key, in hexadecimal: what staff compare"),
	value("Enrolment/LastError", oneOf("Malformed", "Refused", "Unreachable", "OtherVerifier", "ChipUnknown", "NotAttested", "Failed"),
		"why it last came to nothing: the invitation is no invitation, the site does not take it, no answer, an answer from somebody else, nobody vouches for the chip, the software was not accepted, anything else"),

	todo("Network/Set", RoleFacilities, "try settings of the wired network; those before come back unless these are confirmed",
		Field{Name: "Method", Type: methods, Text: "how it gets its address"},
		Field{Name: "Address", Type: text, Optional: true, Text: "with the length of the prefix, such as 10.0.0.5/24; needed by Static"},
		Field{Name: "Gateway", Type: text, Optional: true, Text: "an address"},
		Field{Name: "Dns", Type: servers, Optional: true, Text: "addresses"}),
	todo("Network/Confirm", RoleFacilities, "keep the settings that are tried"),
	value("Network/ConfirmBy", instant, "when the settings before come back unless these are confirmed; absent: these are kept"),
	event("Network/Reverted", "nobody confirmed the settings: those before are back"),
	value("Network/Method", methods, "how the wired network gets its address"),
	value("Network/Address", text, "as set by hand, with the length of the prefix"),
	value("Network/Gateway", text, "as set by hand"),
	value("Network/Dns", servers, "as set by hand"),
	value("Network/Current", text, "the address in use, with the length of the prefix; empty: none"),

	todo("Updates/Check", RoleFacilities, "look for releases at the site and on sticks; what there is shows in Offered"),
	todo("Updates/Download", RoleFacilities, "install a release of the site; it runs after a restart, which waits for the end of the call",
		Field{Name: "Version", Type: text, Text: "of an offer of the site"}, older),
	todo("Updates/Import", RoleFacilities, "install a release from a stick",
		Field{Name: "Name", Type: text, Text: "id of an offer of a stick"}, older),
	todo("Updates/Apply", RoleFacilities, "restart into what is installed", Field{Name: "When", Type: oneOf("Now", "Idle"), Text: "at once, or once no call runs"}),
	todo("Updates/Cancel", RoleFacilities, "stop what is being installed, or its restart"),
	value("Updates/Running", text, "version of what runs"),
	value("Updates/Candidate", text, "version of what is being installed or waits"),
	value("Updates/State", oneOf("Idle", "Receiving", "Checking", "Writing", "Waiting", "Restarting", "Trying", "Committed", "RolledBack"),
		"Waiting: installed, to run after a restart; Trying: it runs and has yet to prove itself"),
	value("Updates/Progress", percent, "of what is being received and written"),
	value("Updates/BlockedBy", oneOf("None", "Call"), "what the restart waits for"),
	value("Updates/Floor", Type{Base: Number, Max: maxSeconds}, "the rollback number below which nothing runs here any more"),
	value("Updates/DarkMinutes", Type{Base: Number, Max: 24 * 60}, "how long the room is likely to be dark at the restart"),
	value("Updates/Failure/Version", text, "of what did not stay or was not taken"),
	value("Updates/Failure/Reason", text, "code of the updater, such as sig_invalid or unhealthy"),
	value("Updates/Failure/Detail", text, "in plain English"),
	value("Updates/Offered/+/Version", text, "of a release that could be installed"),
	value("Updates/Offered/+/Bytes", Type{Base: Number, Max: maxEpoch}, "its size"),
	value("Updates/Offered/+/Source", oneOf("Site", "Stick"), "where it lies"),
	event("Updates/Ready", "a release is installed and waits for a restart", version),
	event("Updates/Started", "the restart into a release begins", version),
	event("Updates/Committed", "a release has proved itself", version),
	event("Updates/RolledBack", "the room came back to the release before", version,
		Field{Name: "Reason", Type: text, Text: "code of the updater"}),
}

var (
	languages  = oneOf("de", "en", "es", "fr", "it", "nl", "pl")
	methods    = oneOf("Dhcp", "Static")
	name       = Type{Base: Text, Max: 64}
	invitation = Type{Base: Text, Max: 320}
	servers    = Type{Base: Texts, Max: 4}
	older      = Field{Name: "Older", Type: flag, Optional: true, Text: "even if it is older than what runs"}
	version    = Field{Name: "Version", Type: text, Text: "which"}
)

var layouts = oneOf("Speaker", "Grid", "Content")

// collections bounds how many entries each may have, against a peer that floods
// the room with names.
var collections = map[string]int{
	"Status/Roster/Members":         64,
	"Status/Lobby/Waiting":          32,
	"Status/Directory/Rooms":        500,
	"Status/Diagnostics/Conditions": 64,
	"Status/Updates/Offered":        32,
	"Status/Pairing/Panels":         64,
}
