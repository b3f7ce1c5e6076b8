// SPDX-License-Identifier: Apache-2.0

package pairing

import (
	"fmt"
	"slices"
	"time"
)

// Panel returns a paired panel, and a channel that is closed when it is
// unpaired.
func (k *Keeper) Panel(id string) (Panel, <-chan struct{}, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, p := range k.book.Panels {
		if p.ID == id {
			return p, k.gone[id], nil
		}
	}
	return Panel{}, nil, ErrUnknown
}

// ByCookie returns the panel that has the cookie.
func (k *Keeper) ByCookie(cookie string) (Panel, <-chan struct{}, error) {
	hash, ok := hashCookie(cookie)
	k.mu.Lock()
	defer k.mu.Unlock()
	if ok {
		for _, p := range k.book.Panels {
			if p.has(hash) {
				return p, k.gone[p.ID], nil
			}
		}
	}
	return Panel{}, nil, ErrUnknown
}

// Seen notes that a panel proved itself now. It is written with the next change
// of the list.
func (k *Keeper) Seen(id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i := range k.book.Panels {
		if k.book.Panels[i].ID == id {
			k.book.Panels[i].Seen = time.Now().UTC().Truncate(time.Second)
			k.change()
		}
	}
}

// Unpair takes a panel off the list. Once it returns nil, the panel's sessions
// have been told to end.
func (k *Keeper) Unpair(id string) error {
	return k.edit(func(b *book) error {
		i := slices.IndexFunc(b.Panels, func(p Panel) bool { return p.ID == id })
		if i < 0 {
			return ErrUnknown
		}
		b.Panels = slices.Delete(b.Panels, i, i+1)
		return nil
	})
}

// Rename gives a panel another name for people.
func (k *Keeper) Rename(id, name string) error {
	return k.edit(func(b *book) error {
		i := slices.IndexFunc(b.Panels, func(p Panel) bool { return p.ID == id })
		if i < 0 {
			return ErrUnknown
		}
		b.Panels[i].Name = nameOf(name)
		return nil
	})
}

func (k *Keeper) edit(f func(*book) error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.editLocked(f)
}

// editLocked changes a copy of the list, writes it, and then lets it be so. k.mu
// is held.
func (k *Keeper) editLocked(f func(*book) error) error {
	b := k.book
	b.Panels = slices.Clone(b.Panels)
	if err := f(&b); err != nil {
		return err
	}
	if err := b.save(k.o.Path); err != nil {
		k.log.Error("panels not written", "err", err)
		return fmt.Errorf("%w: %w", ErrStore, err)
	}
	k.book = b
	kept := map[string]bool{}
	for _, p := range b.Panels {
		kept[p.ID] = true
		if k.gone[p.ID] == nil {
			k.gone[p.ID] = make(chan struct{})
		}
	}
	for id, gone := range k.gone {
		if !kept[id] {
			close(gone)
			delete(k.gone, id)
		}
	}
	k.change()
	return nil
}
