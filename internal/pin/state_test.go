package pin

import (
	"maps"
	"testing"
)

// counts are those of a build, or those of builds before by their names.
type (
	counts = map[string]uint64
	bases  = map[string]counts
)

// A version is a build that is or was in force.
type version struct {
	key  string // of its counters
	live counts // in its own map
	base bases  // as stored
}

func newVersion(key string, n uint64) *version {
	return &version{key: key, live: counts{"kills": n}}
}

// start has a version take over from those whose pins are left.
func (v *version) start(left ...*version) {
	var formers []*Former
	live := make(bases)
	for _, f := range left {
		formers = append(formers, &Former{State: State{Base: f.base}})
		if f.live != nil {
			live[f.key] = f.live
		}
	}
	v.base = Base(v.key, v.base, formers, live)
}

// remove has a version remove the pins of those that are left.
func (v *version) remove() { v.base = Base(v.key, v.base, nil, nil) }

func (v *version) total() uint64 { return v.live["kills"] + Total(v.base)["kills"] }

func TestCountsAreTakenOverOnce(t *testing.T) {
	for _, c := range []struct {
		name string
		run  func() *version
		want uint64
	}{
		{"one version", func() *version {
			a := newVersion("a", 1)
			a.start()
			a.start()
			return a
		}, 1},
		{"an upgrade", func() *version {
			a, b := newVersion("a", 1), newVersion("b", 20)
			a.start()
			b.start(a)
			return b
		}, 21},
		{"a crash before the old pins are removed", func() *version {
			a, b := newVersion("a", 1), newVersion("b", 20)
			a.start()
			b.start(a)
			a.live["kills"] += 300 // what still ran
			b.start(a)
			b.start()
			b.start()
			return b
		}, 321},
		{"a downgrade after such a crash", func() *version {
			a, b := newVersion("a", 1), newVersion("b", 20)
			a.start()
			b.start(a)
			a.start(b)
			return a
		}, 21},
		{"a downgrade after the old pins were removed", func() *version {
			a, b := newVersion("a", 1), newVersion("b", 20)
			a.start()
			b.start(a)
			b.remove()
			again := newVersion("a again", 300)
			again.start(b)
			return again
		}, 321},
		{"a downgrade after a crash while the old pins were removed", func() *version {
			a, b := newVersion("a", 1), newVersion("b", 20)
			a.start()
			b.start(a)
			again := newVersion("a again", 300)
			again.start(b)
			b.start(again)
			return b
		}, 321},
		{"a crash while the old pins are removed", func() *version {
			a, b := newVersion("a", 1), newVersion("b", 20)
			a.start()
			b.start(a)
			a.live = nil // its counters are gone, its state is not
			b.start(a)
			return b
		}, 21},
		{"upgrades one after the other", func() *version {
			a, b, c := newVersion("a", 1), newVersion("b", 20), newVersion("c", 300)
			a.start()
			b.start(a)
			b.start()
			c.start(b)
			return c
		}, 321},
		{"the same, with crashes", func() *version {
			a, b, c := newVersion("a", 1), newVersion("b", 20), newVersion("c", 300)
			a.start()
			b.start(a)
			c.start(b)
			c.start(b)
			b.start(c)
			c.start(b)
			c.start()
			return c
		}, 321},
		{"three versions that are left", func() *version {
			a, b, c := newVersion("a", 1), newVersion("b", 20), newVersion("c", 300)
			a.start()
			b.start(a)
			c.start(a, b)
			c.start(b)
			c.start()
			return c
		}, 321},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.run().total(); got != c.want {
				t.Errorf("got %d, want %d", got, c.want)
			}
		})
	}
}

func TestABuildIsNamedByAllThatItsMapsDependOn(t *testing.T) {
	seen := make(map[string]bool)
	for _, build := range []string{Build([]byte("a")), Build([]byte("b")), Build([]byte("a"), 1), Build([]byte("a"), 2), Build([]byte("a"), 1, 2)} {
		seen[build] = true
	}
	if len(seen) != 5 {
		t.Errorf("got only %v", maps.Keys(seen))
	}
	if again := Build([]byte("a"), 1); !seen[again] {
		t.Error("a build has two names")
	}
}
