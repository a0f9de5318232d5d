package pin

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

const mapSuffix = "_map"

// Map returns a map that all builds use which have the same layout of it: the pinned one, or a new
// one that it pins. So what it has outlives an upgrade too.
func (u *Unit) Map(spec *ebpf.MapSpec) (*ebpf.Map, error) {
	if u == nil {
		return ebpf.NewMap(spec) //nolint:wrapcheck // the caller names it
	}
	its, err := layout(spec)
	if err != nil {
		return nil, err
	}
	name := spec.Name + "_" + its + mapSuffix
	u.maps = append(u.maps, name)
	path := filepath.Join(u.dir, name)
	m, err := ebpf.LoadPinnedMap(path, nil)
	if !errors.Is(err, os.ErrNotExist) {
		return m, err //nolint:wrapcheck // it names the path
	}
	if m, err = ebpf.NewMap(spec); err != nil {
		return nil, fmt.Errorf("making the map %s: %w", spec.Name, err)
	}
	if err := m.Pin(path); err != nil {
		return nil, errors.Join(fmt.Errorf("pinning the map %s: %w", spec.Name, err), m.Close())
	}
	return m, nil
}

// NewMap returns a map of this build: the pinned one, or a new one that it pins. Share must have had the spec.
func (u *Unit) NewMap(spec *ebpf.MapSpec) (*ebpf.Map, error) {
	if u == nil {
		return ebpf.NewMap(spec) //nolint:wrapcheck // the caller names it
	}
	return ebpf.NewMapWithOptions(spec, ebpf.MapOptions{PinPath: u.own()}) //nolint:wrapcheck // the same
}

// layout identifies how a map stores what it has: its type, its sizes, and the types of its keys and
// values with the names of their members.
func layout(spec *ebpf.MapSpec) (string, error) {
	h := sha256.New()
	_, _ = fmt.Fprint(h, spec.Type, spec.KeySize, spec.ValueSize, spec.MaxEntries, spec.Flags)
	for _, t := range []btf.Type{spec.Key, spec.Value} {
		if t == nil {
			continue
		}
		text, err := describe(t)
		if err != nil {
			return "", fmt.Errorf("describing the map %s: %w", spec.Name, err)
		}
		_, _ = h.Write(text)
	}
	return hex.EncodeToString(h.Sum(nil)[:8]), nil
}

func describe(t btf.Type) ([]byte, error) {
	b, err := btf.NewBuilder([]btf.Type{t}, nil)
	if err != nil {
		return nil, err //nolint:wrapcheck // the caller does
	}
	return b.Marshal(nil, nil) //nolint:wrapcheck // the same
}
