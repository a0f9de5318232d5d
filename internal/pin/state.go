package pin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/cilium/ebpf"
)

// A State is what an agent leaves for the next one about the objects of a build. It is stored as
// JSON, in a map, so that other versions of the agent can read it.
type State struct {
	Version string // of the agent
	// Counters are the names of the counters in the map "counters", by index.
	Counters []string
	// Base has the counts of builds that came before, by the keys of CountersKey and the name of the
	// counter. "" is for builds that are gone.
	Base map[string]map[string]uint64
	// Events identifies the format of the events in the map "events".
	Events string
	// Generation is that of the rules in force, and Rules identifies these.
	Generation uint32
	Rules      string
	Seed       uint64 // of fingerprints
	// Alive is when the agent was last seen, in nanoseconds since the boot, with the counts then.
	Alive int64
	Seen  map[string]uint64
}

const (
	stateName = "state"
	stateSize = 32 << 10 // bytes of JSON
)

// A Store has the state of a build. A nil Store, which a nil Unit has, stores nothing.
type Store struct{ m *ebpf.Map }

// Store returns the store of this build and the state in it, which is zero at first.
func (u *Unit) Store() (*Store, State, error) {
	if u == nil {
		return nil, State{}, nil
	}
	m, err := ebpf.NewMapWithOptions(&ebpf.MapSpec{
		Name: stateName, Type: ebpf.Array, KeySize: 4, ValueSize: stateSize, MaxEntries: 1, Pinning: ebpf.PinByName,
	}, ebpf.MapOptions{PinPath: u.own()})
	if err != nil {
		return nil, State{}, fmt.Errorf("making the map of the pinned state: %w", err)
	}
	state, err := readState(m)
	if err != nil {
		return nil, State{}, errors.Join(err, m.Close())
	}
	return &Store{m}, state, nil
}

func readState(m *ebpf.Map) (s State, err error) {
	text, err := m.LookupBytes(uint32(0))
	if err != nil {
		return s, fmt.Errorf("reading the pinned state: %w", err)
	}
	if text = bytes.TrimRight(text, "\x00"); len(text) == 0 {
		return s, nil
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return s, fmt.Errorf("decoding the pinned state: %w", err)
	}
	return s, nil
}

// Write replaces the state.
func (s *Store) Write(state State) error {
	if s == nil {
		return nil
	}
	text, err := json.Marshal(state)
	if err == nil && len(text) > stateSize {
		err = fmt.Errorf("%d bytes, at most %d fit", len(text), stateSize)
	}
	if err == nil {
		err = s.m.Put(uint32(0), append(text, make([]byte, stateSize-len(text))...))
	}
	if err != nil {
		return fmt.Errorf("storing the pinned state: %w", err)
	}
	return nil
}

// Close closes the descriptor. The state stays.
func (s *Store) Close() error {
	if s == nil {
		return nil
	}
	return s.m.Close()
}

// A Former has the objects of another build.
type Former struct {
	State
	Build string
	path  string
}

// Formers returns those of all other builds of the unit.
func (u *Unit) Formers() ([]*Former, error) {
	if u == nil {
		return nil, nil
	}
	entries, err := os.ReadDir(u.dir)
	if err != nil {
		return nil, fmt.Errorf("listing the pins of other versions: %w", err)
	}
	var all []*Former
	for _, e := range entries {
		if !e.IsDir() || !buildName.MatchString(e.Name()) || e.Name() == u.build {
			continue
		}
		f := &Former{Build: e.Name(), path: filepath.Join(u.dir, e.Name())}
		// Without a state its agent ended before it had anything in force.
		if m, err := f.Map(stateName); err == nil {
			f.State, err = readState(m)
			if err = errors.Join(err, m.Close()); err != nil {
				return nil, fmt.Errorf("in %s: %w", f.path, err)
			}
		} else if !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		all = append(all, f)
	}
	return all, nil
}

// Map opens a map of the build.
func (f *Former) Map(name string) (*ebpf.Map, error) {
	m, err := ebpf.LoadPinnedMap(filepath.Join(f.path, name), nil)
	if err != nil {
		return nil, fmt.Errorf("opening a map of another version: %w", err)
	}
	return m, nil
}

// Remove removes its objects.
func (f *Former) Remove() error { return removeAll(f.path) }

// CountersKey returns the key for the counts in a map of this build. Once its pins were removed, the build
// begins with another map, and this has another key: the kernel numbers maps, and the numbers are as lasting as
// pins, until the next boot. Before there is a map, the key is one that no counts have.
func (u *Unit) CountersKey(name string) (string, error) {
	m, err := ebpf.LoadPinnedMap(filepath.Join(u.own(), name), nil)
	if errors.Is(err, os.ErrNotExist) {
		return u.build, nil
	} else if err != nil {
		return "", fmt.Errorf("opening the counters: %w", err)
	}
	key, err := countersKey(u.build, m)
	return key, errors.Join(err, m.Close())
}

// CountersKey is the same for a map of the build, which must be one that Map has returned.
func (f *Former) CountersKey(m *ebpf.Map) (string, error) { return countersKey(f.Build, m) }

func countersKey(build string, m *ebpf.Map) (string, error) {
	info, err := m.Info()
	if err != nil {
		return "", fmt.Errorf("asking for the number of the counters: %w", err)
	}
	id, ok := info.ID()
	if !ok {
		return "", errors.New("the kernel does not number maps")
	}
	return fmt.Sprintf("%s %d", build, id), nil
}

// Base returns the counts of builds before one: own is the key of its counters, base is what is stored with it,
// and live has the counts of the former builds that have counters, by their keys. It can be called again with
// later counts, also after a crash, and counts nothing twice.
func Base(own string, base map[string]map[string]uint64, formers []*Former, live map[string]map[string]uint64) map[string]map[string]uint64 {
	base = maps.Clone(base)
	if base == nil {
		base = make(map[string]map[string]uint64)
	}
	if len(formers) == 0 {
		return map[string]map[string]uint64{"": sum(slices.Collect(maps.Values(base))...)}
	}
	for _, f := range formers {
		if _, later := f.Base[own]; later {
			clear(base) // it has come after this build, and knows all that this one does
		}
	}
	for _, f := range formers {
		for key, counts := range f.Base {
			if key != own {
				base[key] = counts
			}
		}
	}
	maps.Copy(base, live)
	return base
}

// Total adds up the counts of all builds.
func Total(base map[string]map[string]uint64) map[string]uint64 {
	return sum(slices.Collect(maps.Values(base))...)
}

func sum(all ...map[string]uint64) map[string]uint64 {
	total := make(map[string]uint64)
	for _, counts := range all {
		for name, n := range counts {
			total[name] += n
		}
	}
	return total
}
