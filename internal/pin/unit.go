package pin

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/cryptnono/cryptnono/internal/kernelbtf"
)

// A Unit has the pins of one part of the agent. A nil Unit keeps nothing.
type Unit struct {
	dir   string   // of the unit
	build string   // name of the directory of this build in it
	maps  []string // names of the files of Map
}

// Build names a build by what must be equal so that its objects can be used: the bytes of the
// object, and what is set in it when it is loaded.
func Build(object []byte, sizes ...uint32) string {
	h := sha256.New()
	_, _ = h.Write(object)
	_, _ = fmt.Fprint(h, sizes)
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// Unit returns the unit with a name, for a build. A nil Dir has nil units.
func (d *Dir) Unit(name, build string) (*Unit, error) {
	if d == nil {
		return nil, nil
	}
	u := &Unit{dir: filepath.Join(d.path, name), build: build}
	return u, errors.Join(mkdir(u.dir), mkdir(u.own()))
}

// own returns the directory of this build.
func (u *Unit) own() string { return filepath.Join(u.dir, u.build) }

// Share makes a collection that is loaded with Options use the pinned maps of this build, and
// pin those that are missing.
func (u *Unit) Share(maps ...*ebpf.MapSpec) {
	if u == nil {
		return
	}
	for _, m := range maps {
		m.Pinning = ebpf.PinByName
	}
}

// Options returns the options for that.
func (u *Unit) Options() *ebpf.CollectionOptions {
	o := &ebpf.CollectionOptions{Cache: kernelbtf.Cache}
	if u != nil {
		o.Maps.PinPath = u.own()
	}
	return o
}

const linkSuffix = "_link"

func isLink(name string) bool { return strings.HasSuffix(name, linkSuffix) }

// Link returns the pinned link of this build with a name, or attaches and pins it.
func (u *Unit) Link(name string, attach func() (link.Link, error)) (link.Link, error) {
	if u == nil {
		return attach()
	}
	path := filepath.Join(u.own(), name+linkSuffix)
	l, err := link.LoadPinnedLink(path, nil)
	if !errors.Is(err, os.ErrNotExist) {
		return l, err //nolint:wrapcheck // it names the path
	}
	return pinned(path, attach)
}

// LinkOfAll returns the link with a name that all builds use, and whether it was pinned: then its
// program, which is that of the build before, can be replaced in one step. Otherwise it attaches and
// pins it.
func (u *Unit) LinkOfAll(name string, attach func() (link.Link, error)) (l link.Link, found bool, err error) {
	if u == nil {
		l, err = attach()
		return l, false, err
	}
	path := u.entry(name).link
	l, err = link.LoadPinnedLink(path, nil)
	if !errors.Is(err, os.ErrNotExist) {
		return l, err == nil, err //nolint:wrapcheck // it names the path
	}
	l, err = pinned(path, attach)
	return l, false, err
}

func pinned(path string, attach func() (link.Link, error)) (link.Link, error) {
	l, err := attach()
	if err != nil {
		return nil, err
	}
	if err := l.Pin(path); err != nil {
		return nil, errors.Join(fmt.Errorf("pinning a link: %w", err), l.Close())
	}
	return l, nil
}

// An Entry is a program that does nothing but a tail call to the program in its slot. It is the
// same for all versions of the agent: a new version replaces what is in the slot, in one step.
type Entry struct {
	Slot    *ebpf.Map     // a program array of one element
	Program *ebpf.Program // the entry
	Link    link.Link     // nil until it is attached
}

// FindEntry returns the pinned entry with a name, or nil. If the pins are not complete, because
// an agent ended while it made or removed them, it removes them.
func (u *Unit) FindEntry(name string) (*Entry, error) {
	if u == nil {
		return nil, nil
	}
	at := u.entry(name)
	e := new(Entry)
	var err [3]error
	e.Slot, err[0] = ebpf.LoadPinnedMap(at.slot, nil)
	e.Program, err[1] = ebpf.LoadPinnedProgram(at.program, nil)
	e.Link, err[2] = link.LoadPinnedLink(at.link, nil)
	if errors.Join(err[:]...) == nil {
		return e, nil
	}
	for _, err := range err {
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, errors.Join(fmt.Errorf("opening the pinned entry %s: %w", name, err), e.Close())
		}
	}
	return nil, errors.Join(e.Close(), at.remove())
}

// AttachEntry attaches a new entry, whose slot has its program, and pins it.
func (u *Unit) AttachEntry(name string, e *Entry, attach func() (link.Link, error)) (err error) {
	if u == nil {
		e.Link, err = attach()
		return err
	}
	// The link is last: while it is pinned, the slot is.
	at := u.entry(name)
	if err := errors.Join(e.Slot.Pin(at.slot), e.Program.Pin(at.program)); err != nil {
		return fmt.Errorf("pinning the entry %s: %w", name, err)
	}
	e.Link, err = pinned(at.link, attach)
	return err
}

// Fill has an entry of a tracing program run another one, or none if next is nil, in one step. It
// attaches the entry if it is not attached yet.
func (u *Unit) Fill(name string, e *Entry, next *ebpf.Program) error {
	if next == nil {
		if err := e.Slot.Delete(uint32(0)); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("emptying the slot of %s: %w", name, err)
		}
		return nil
	}
	if err := e.Slot.Put(uint32(0), next); err != nil {
		return fmt.Errorf("filling the slot of %s: %w", name, err)
	}
	if e.Link != nil {
		return nil
	}
	return u.AttachEntry(name, e, func() (link.Link, error) {
		l, err := link.AttachTracing(link.TracingOptions{Program: e.Program})
		if err != nil {
			return nil, fmt.Errorf("attaching %s: %w", name, err)
		}
		return l, nil
	})
}

// KeepEntries removes the pins of all entries and links of all builds but these, and of the maps that
// Map has not returned: a version that is gone had others.
func (u *Unit) KeepEntries(names ...string) error {
	if u == nil {
		return nil
	}
	files, err := os.ReadDir(u.dir)
	if err != nil {
		return fmt.Errorf("listing pinned entries: %w", err)
	}
	for _, f := range files {
		if strings.HasSuffix(f.Name(), mapSuffix) && !slices.Contains(u.maps, f.Name()) {
			if err := os.Remove(filepath.Join(u.dir, f.Name())); err != nil {
				return fmt.Errorf("removing the map of another version: %w", err)
			}
		}
		name, isLink := strings.CutSuffix(f.Name(), linkSuffix)
		if !isLink || slices.Contains(names, name) {
			continue
		}
		if err := u.entry(name).remove(); err != nil {
			return err
		}
	}
	return nil
}

// Close closes the descriptors. A pinned entry stays at work.
func (e *Entry) Close() error {
	if e == nil {
		return nil
	}
	var errs []error
	if e.Link != nil {
		errs = append(errs, e.Link.Close())
	}
	return errors.Join(append(errs, e.Program.Close(), e.Slot.Close())...)
}

// entryPins are the paths of an entry.
type entryPins struct{ slot, program, link string }

func (u *Unit) entry(name string) entryPins {
	at := filepath.Join(u.dir, name)
	return entryPins{at + "_slot", at + "_program", at + linkSuffix}
}

// remove removes them, the link first.
func (p entryPins) remove() error {
	for _, path := range []string{p.link, p.program, p.slot} {
		if err := remove(path); err != nil {
			return fmt.Errorf("removing the pins of an entry: %w", err)
		}
	}
	return nil
}
