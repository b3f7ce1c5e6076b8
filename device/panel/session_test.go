// SPDX-License-Identifier: Apache-2.0

package panel

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// TestMethods has every method of JSON-RPC and every way to be refused.
func TestMethods(t *testing.T) {
	deep := strings.Repeat("[", maxDepth+1) + strings.Repeat("]", maxDepth+1)
	req := func(method, params string) string {
		return fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":%q,"params":%s}`, method, params)
	}
	for _, tt := range []struct {
		name, send string
		want       string // the result, or the start of it
		reason     Reason
		done       string // what the room did
	}{
		{"get a leaf", req("Tree.Get", `{"Path":"Status/Audio/Volume"}`), `{"Path":"Status/Audio/Volume","Seq":SEQ,"Value":55}`, "", ""},
		{"get a branch", req("Tree.Get", `{"Path":"Status/Audio/Mute"}`), `{"Path":"Status/Audio/Mute","Seq":SEQ,"Value":{"Sources":[],"State":"Off"}}`, "", ""},
		{"get what has no value", req("Tree.Get", `{"Path":"Status/Call/Epoch"}`), `{"Path":"Status/Call/Epoch","Seq":SEQ,"Value":null}`, "", ""},
		{"get an empty collection", req("Tree.Get", `{"Path":"Status/Lobby/Waiting"}`), `{"Path":"Status/Lobby/Waiting","Seq":SEQ,"Value":{}}`, "", ""},
		{"get who is not there", req("Tree.Get", `{"Path":"Status/Directory/Rooms/x"}`), "", UnknownPath, ""},
		{"get no node", req("Tree.Get", `{"Path":"Status/Audio/Loudness"}`), "", UnknownPath, ""},
		{"get a command", req("Tree.Get", `{"Path":"Command/Audio/Mute"}`), "", UnknownPath, ""},
		{"get a pattern", req("Tree.Get", `{"Path":"Status/*"}`), "", UnknownPath, ""},
		{"get nothing", req("Tree.Get", `{}`), "", InvalidParams, ""},
		{"get with more", req("Tree.Get", `{"Path":"Status","Depth":1}`), "", InvalidParams, ""},
		{"query one level", req("Tree.Query", `{"Query":["Status/Directory/Rooms/*/Name"]}`), `{"Seq":SEQ,"Status":{"Directory":{"Rooms":{"curie":{"Name":"Curie"}}}}}`, "", ""},
		{"query any level", req("Tree.Query", `{"Query":["Status/**/Volume"]}`), `{"Seq":SEQ,"Status":{"Audio":{"Volume":55}}}`, "", ""},
		{"query two", req("Tree.Query", `{"Query":["Status/Audio/Volume","Status/Stage"]}`), `{"Seq":SEQ,"Status":{"Audio":{"Volume":55},"Stage":{"Layout":"Speaker"}}}`, "", ""},
		{"query the empty", req("Tree.Query", `{"Query":["Status/Lobby"]}`), `{"Seq":SEQ,"Status":{}}`, "", ""},
		{"query nothing known", req("Tree.Query", `{"Query":["Status/Chat/*"]}`), "", UnknownPath, ""},
		{"query commands", req("Tree.Query", `{"Query":["Command/**"]}`), "", UnknownPath, ""},
		{"query with two **", req("Tree.Query", `{"Query":["**/Mute/**"]}`), "", InvalidParams, ""},
		{"query none", req("Tree.Query", `{"Query":[]}`), "", InvalidParams, ""},
		{"query too many", req("Tree.Query", `{"Query":[`+strings.Repeat(`"Status",`, maxQueries)+`"Status"]}`), "", InvalidParams, ""},
		{"query long", req("Tree.Query", `{"Query":["Status/`+strings.Repeat("x", maxQuery)+`"]}`), "", InvalidParams, ""},
		{"query deep", req("Tree.Query", `{"Query":["Status`+strings.Repeat("/*", maxSegments)+`"]}`), "", UnknownPath, ""},
		{"query a number", req("Tree.Query", `{"Query":[1]}`), "", InvalidParams, ""},
		{"write", req("Tree.Set", `{"Path":"Config/Audio/DefaultVolume","Value":1}`), "", ReadOnly, ""},
		{"subscribe", req("Feedback.Subscribe", `{"Query":["Status/Audio/Volume"],"Snapshot":true,"MaxHz":10}`), `{"Id":1,"Seq":SEQ,"Snapshot":{"Status":{"Audio":{"Volume":55}}}}`, "", ""},
		{"subscribe without snapshot", req("Feedback.Subscribe", `{"Query":["Event/**"]}`), `{"Id":1,"Seq":SEQ}`, "", ""},
		{"subscribe too fast", req("Feedback.Subscribe", `{"Query":["Status"],"MaxHz":61}`), "", ValueOutOfRange, ""},
		{"subscribe oddly", req("Feedback.Subscribe", `{"Query":["Status"],"Snapshot":1}`), "", InvalidParams, ""},
		{"unsubscribe nothing", req("Feedback.Unsubscribe", `{"Id":9}`), "", UnknownPath, ""},
		{"resume another boot", req("Feedback.Resume", `{"BootId":"x","Seq":1,"Subscriptions":[{"Id":3,"Query":["Status/Audio/Volume"]}]}`), `{"Resumed":false,"Seq":SEQ,"Snapshots":[{"Id":3,"Seq":SEQ,"Snapshot":{"Status":{"Audio":{"Volume":55}}}}]}`, "", ""},
		{"resume twice the same", req("Feedback.Resume", `{"BootId":"x","Seq":1,"Subscriptions":[{"Id":3,"Query":["Status"]},{"Id":3,"Query":["Status"]}]}`), "", InvalidParams, ""},
		{"resume nothing", req("Feedback.Resume", `{"BootId":"x","Seq":1,"Subscriptions":[]}`), "", InvalidParams, ""},
		{"resume below zero", req("Feedback.Resume", `{"BootId":"x","Seq":-1,"Subscriptions":[{"Id":3,"Query":["Status"]}]}`), "", ValueOutOfRange, ""},

		{"start", req("Command/Call/Start", `{"Room":"curie"}`), `{"CallId":"c-1"}`, "", "start curie"},
		{"start an unknown room", req("Command/Call/Start", `{"Room":"pascal"}`), "", TargetChanged, ""},
		{"start a path", req("Command/Call/Start", `{"Room":"curie/Name"}`), "", TargetChanged, ""},
		{"answer without a call", req("Command/Call/Answer", `{"CallId":"c-1"}`), "", NotInCall, ""},
		{"mute", req("Command/Audio/Mute", `{}`), `{}`, "", "mute"},
		{"mute without params", `{"jsonrpc":"2.0","id":"a","method":"Command/Audio/Mute"}`, `{}`, "", "mute"},
		{"unmute", req("Command/Audio/Unmute", `{}`), `{}`, "", "unmute"},
		{"volume", req("Command/Audio/SetVolume", `{"Volume":100}`), `{}`, "", "volume"},
		{"volume too loud", req("Command/Audio/SetVolume", `{"Volume":101}`), "", ValueOutOfRange, ""},
		{"volume broken", req("Command/Audio/SetVolume", `{"Volume":1.5}`), "", InvalidParams, ""},
		{"volume as text", req("Command/Audio/SetVolume", `{"Volume":"5"}`), "", InvalidParams, ""},
		{"volume with other case", req("Command/Audio/SetVolume", `{"volume":5}`), "", InvalidParams, ""},
		{"volume with more", req("Command/Audio/SetVolume", `{"Volume":5,"Fade":true}`), "", InvalidParams, ""},
		{"step", req("Command/Audio/StepVolume", `{"Steps":-1}`), `{}`, "", "step"},
		{"step nowhere", req("Command/Audio/StepVolume", `{"Steps":0}`), "", ValueOutOfRange, ""},
		{"camera off", req("Command/Video/CameraOff", `{}`), `{}`, "", "camera"},
		{"camera on", req("Command/Video/CameraOn", `{}`), `{}`, "", "camera"},
		{"selfview", req("Command/Video/SetSelfview", `{"On":true}`), `{}`, "", "selfview"},
		{"layout", req("Command/Stage/SetLayout", `{"Layout":"Grid"}`), `{}`, "", "layout Grid"},
		{"layout unknown", req("Command/Stage/SetLayout", `{"Layout":"Circle"}`), "", InvalidParams, ""},
		{"admit nobody", req("Command/Lobby/Admit", `{"Id":"x","Credential":"y"}`), "", TargetChanged, ""},
		{"refuse nobody", req("Command/Lobby/Refuse", `{"Id":"x","Credential":"y"}`), "", TargetChanged, ""},
		{"remove nobody", req("Command/Roster/Remove", `{"Member":"x","Credential":""}`), "", TargetChanged, ""},
		{"key of no length", req("Command/Audio/Mute", `{"IdempotencyKey":""}`), "", InvalidParams, ""},
		{"key too long", req("Command/Audio/Mute", `{"IdempotencyKey":"`+strings.Repeat("k", maxKey+1)+`"}`), "", InvalidParams, ""},

		{"no JSON", `{"jsonrpc"`, "", ParseError, ""},
		{"two texts", `{} {}`, "", ParseError, ""},
		{"not UTF-8", "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\"}", "", ParseError, ""},
		{"a key twice", `{"jsonrpc":"2.0","id":1,"method":"Tree.Get","params":{"Path":"Status","Path":"Status"}}`, "", ParseError, ""},
		{"too deep", req("Tree.Get", `{"Path":`+deep+`}`), "", ParseError, ""},
		{"batch", `[` + req("Tree.Get", `{"Path":"Status"}`) + `]`, "", InvalidRequest, ""},
		{"no id", `{"jsonrpc":"2.0","method":"Command/Audio/Mute"}`, "", InvalidRequest, ""},
		{"null id", `{"jsonrpc":"2.0","id":null,"method":"Command/Audio/Mute"}`, "", InvalidRequest, ""},
		{"broken id", `{"jsonrpc":"2.0","id":1.5,"method":"Command/Audio/Mute"}`, "", InvalidRequest, ""},
		{"long id", `{"jsonrpc":"2.0","id":"` + strings.Repeat("i", 65) + `","method":"Command/Audio/Mute"}`, "", InvalidRequest, ""},
		{"unknown member", `{"jsonrpc":"2.0","id":1,"method":"Command/Audio/Mute","auth":"x"}`, "", InvalidRequest, ""},
		{"old version", `{"jsonrpc":"1.0","id":1,"method":"Command/Audio/Mute"}`, "", InvalidRequest, ""},
		{"no method", `{"jsonrpc":"2.0","id":1}`, "", InvalidRequest, ""},
		{"params by position", req("Command/Audio/SetVolume", `[5]`), "", InvalidParams, ""},
		{"unknown method", req("Tree.Delete", `{}`), "", UnknownMethod, ""},
		{"unknown command", req("Command/Power/Off", `{}`), "", UnknownMethod, ""},
		{"command in kebab", req("Command/audio/mute", `{}`), "", UnknownMethod, ""},
		{"a state as command", req("Command/Audio", `{}`), "", UnknownMethod, ""},
		{"too long", req("Tree.Get", `{"Path":"`+strings.Repeat("x", maxRequest)+`"}`), "", InvalidRequest, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBox(t)
			seq := b.srv.store.now()
			p := dial(t, b.serve(t).URL, "table")
			m := p.ask(tt.send)
			var reason Reason
			if m.Error != nil {
				reason = m.Error.Data.Reason
				if want := meanings[reason].code; m.Error.Code != want {
					t.Errorf("code = %d, want %d", m.Error.Code, want)
				}
			}
			want := strings.ReplaceAll(tt.want, "SEQ", fmt.Sprint(seq))
			if reason != tt.reason || string(m.Result) != want {
				t.Errorf("%s\n got %s %s\nwant %s %s", tt.send, m.Result, reason, want, tt.reason)
			}
			if got := strings.Join(b.done(), ", "); got != tt.done {
				t.Errorf("the room did %q, want %q", got, tt.done)
			}
		})
	}
}

// TestFollow has a panel see what another does, and who did it.
func TestFollow(t *testing.T) {
	b := newBox(t)
	url := b.serve(t).URL
	wall, table := dial(t, url, "wall"), dial(t, url, "table")
	wall.ask(`{"jsonrpc":"2.0","id":1,"method":"Feedback.Subscribe","params":{"Query":["Status/**","Event/**"],"Snapshot":true,"MaxHz":60}}`)
	table.ask(`{"jsonrpc":"2.0","id":1,"method":"Command/Audio/SetVolume","params":{"Volume":60}}`)
	d := wall.delta()
	if text, _ := json.Marshal(d.Status); d.By != "table" || string(text) != `{"Audio":{"Volume":60}}` || d.BootID != b.srv.boot || d.Seq != b.srv.store.now() {
		t.Errorf("delta = %+v", d)
	}
	b.srv.Publish(func(tx *Tx) {
		tx.Set("Roster/Members/m1", Member{Name: "Curie", Verdict: "none", Link: "Good", Credential: "aa"})
		tx.Event("Roster/MemberAdded", map[string]string{"Name": "Curie"})
	})
	d = wall.delta()
	if len(d.Events) != 1 || d.Events[0].Path != "Event/Roster/MemberAdded" || string(d.Events[0].Value) != `{"Name":"Curie"}` {
		t.Errorf("events = %+v", d.Events)
	}
	b.srv.Publish(func(tx *Tx) { tx.Remove("Roster/Members/m1") })
	if d = wall.delta(); !equal(d.Removed, []string{"Status/Roster/Members/m1"}) || d.Status != nil {
		t.Errorf("removal = %+v", d)
	}
	table.ask(`{"jsonrpc":"2.0","id":2,"method":"Command/Audio/Mute","params":{}}`)
	if d = wall.delta(); d.By != "table" {
		t.Errorf("mute came by %q", d.By)
	}
}
