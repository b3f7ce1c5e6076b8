// SPDX-License-Identifier: Apache-2.0

//go:build interop

package interop

import (
	"testing"

	"incamera/media/mls"
)

const tsmlsName = "ts-mls 1.6.4"

// tsmls is a member of ts-mls. Its operations are those of tsmls.mjs.
type tsmls struct {
	peer     *peer
	suite    *mls.Suite
	identity string
	how      style
}

func (m *tsmls) name() string { return m.identity }
func (m *tsmls) theirs() bool { return true }

func (m *tsmls) call(t *testing.T, op string, r request, out any) error {
	t.Helper()
	if r == nil {
		r = request{}
	}
	r["who"] = m.identity
	return m.peer.call(t, op, r, out)
}

func (m *tsmls) offer(t *testing.T) []byte {
	t.Helper()
	var out struct {
		KeyPackage octets `json:"keypackage"`
	}
	err := m.call(t, "keypackage", request{
		"suite": m.suite.ID(), "identity": octets(m.identity), "padding": m.how.padding,
		"extensions": []mls.ExtensionType{mls.ExtAppDataDictionary},
	}, &out)
	if err != nil {
		t.Fatal(err)
	}
	return out.KeyPackage
}

// extensions are a list of extensions in JSON.
func extensions(l []mls.Extension) []request {
	out := []request{}
	for _, e := range l {
		out = append(out, request{"type": e.Type, "data": octets(e.Data)})
	}
	return out
}

func (m *tsmls) create(t *testing.T, group []byte, l ...mls.Extension) error {
	m.offer(t)
	return m.call(t, "create", request{"group": octets(group), "extensions": extensions(l)}, nil)
}

func (m *tsmls) join(t *testing.T, welcome []byte) error {
	return m.call(t, "join", request{"welcome": octets(welcome)}, nil)
}

func proposalJSON(p proposal) request {
	switch {
	case p.add != nil:
		return request{"add": octets(p.add)}
	case p.remove != nil:
		return request{"remove": *p.remove}
	case p.update:
		return request{"update": true}
	case p.psk:
		return request{"psk": octets(sharedID)}
	case p.resumption != nil:
		return request{"resumption": *p.resumption}
	}
	return request{"extensions": extensions(p.extensions)}
}

type messages struct {
	Message octets `json:"message"`
	Welcome octets `json:"welcome"`
	Info    octets `json:"info"`
}

func (m *tsmls) propose(t *testing.T, p proposal) ([]byte, error) {
	var out messages
	err := m.call(t, "propose", request{"plain": m.how.plain, "proposal": proposalJSON(p)}, &out)
	return out.Message, err
}

func (m *tsmls) commit(t *testing.T, list ...proposal) (msg, welcome []byte, err error) {
	l := []request{}
	for _, p := range list {
		l = append(l, proposalJSON(p))
	}
	var out messages
	err = m.call(t, "commit", request{"plain": m.how.plain, "proposals": l}, &out)
	return out.Message, out.Welcome, err
}

func (m *tsmls) apply(t *testing.T) error { return m.call(t, "apply", nil, nil) }

func (m *tsmls) discard(t *testing.T) {
	if err := m.call(t, "discard", nil, nil); err != nil {
		t.Fatal(err)
	}
}

func (m *tsmls) process(t *testing.T, msg []byte) (opened, error) {
	var out opened
	err := m.call(t, "process", request{"message": octets(msg)}, &out)
	return out, err
}

func (m *tsmls) protect(t *testing.T, data []byte) ([]byte, error) {
	var out messages
	err := m.call(t, "app", request{"data": octets(data)}, &out)
	return out.Message, err
}

func (m *tsmls) info(t *testing.T) ([]byte, error) {
	var out messages
	err := m.call(t, "group_info", nil, &out)
	return out.Info, err
}

func (m *tsmls) joinExternal(t *testing.T, info []byte, resync bool) ([]byte, error) {
	m.offer(t)
	var out messages
	err := m.call(t, "external_join", request{"info": octets(info), "resync": resync}, &out)
	return out.Message, err
}

func (m *tsmls) proposeSelf(t *testing.T, info []byte) ([]byte, error) {
	var out messages
	err := m.call(t, "propose_self", request{"info": octets(info)}, &out)
	return out.Message, err
}

func (m *tsmls) view(t *testing.T) view {
	t.Helper()
	var v view
	r := request{"label": exportLabel, "context": octets(exportContext), "length": exportLength}
	if err := m.call(t, "view", r, &v); err != nil {
		t.Fatal(err)
	}
	return v
}
