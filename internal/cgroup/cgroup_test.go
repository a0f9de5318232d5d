package cgroup

import (
	"encoding/binary"
	"strings"
	"testing"
)

// encode encodes a cgroup of this depth, whose levels have the ids 1, 2, ...
func encode(hierarchy, depth uint32, names ...string) []byte {
	b := binary.LittleEndian.AppendUint32(nil, hierarchy)
	b = binary.LittleEndian.AppendUint32(b, depth)
	for i := range maxLevels {
		name := [nameSize]byte{'o', 'l', 'd'}
		if i < len(names) {
			copy(name[:], names[i]+"\x00")
		}
		b = binary.LittleEndian.AppendUint64(b, uint64(i+1))
		b = append(b, name[:]...)
	}
	return b
}

func TestADecodedCgroupHasItsPath(t *testing.T) {
	long := strings.Repeat("n", nameSize-1)
	eight := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
	for name, c := range map[string]struct {
		depth uint32
		names []string
		want  string
	}{
		"the root":                      {0, nil, "/"},
		"one level":                     {1, []string{"a"}, "/a"},
		"eight levels":                  {8, eight, "/a/b/c/d/e/f/g/h"},
		"more levels than are kept":     {9, eight, "/a/b/c/d/e/f/g/h/..."},
		"64 levels":                     {64, eight, "/a/b/c/d/e/f/g/h/..."},
		"an invalid depth":              {1<<32 - 1, eight, "/a/b/c/d/e/f/g/h/..."},
		"the longest name":              {1, []string{long}, "/" + long},
		"a name without NUL":            {1, []string{long + "n"}, "/" + long + "n"},
		"bytes of a name after its end": {2, []string{"a\x00ld", "b\x00old"}, "/a/b"},
	} {
		got, err := new(Parser).Decode(encode(0, c.depth, c.names...))
		if err != nil || got.Path != c.want {
			t.Errorf("%s: got %q, %v, want %q", name, got.Path, err, c.want)
		}
	}
}

// A pod's cgroup, with the number of the level that belongs to a user.
func TestAUserChoosesNamesBelowHisCgroup(t *testing.T) {
	id := strings.Repeat("0123456789abcdef", 4)
	names := []string{"kubepods", "burstable", "pod0b3c5b1e-1a2b-4c3d-8e9f-0123456789ab", id, "below"}
	for owned, want := range map[int]ContainerRef{
		-1: new(Parser).Parse("/" + strings.Join(names, "/")),
		0:  {Level: 0}, 1: {Level: 1}, 2: {Level: 2},
		3: new(Parser).Parse("/" + strings.Join(names, "/")),
		4: new(Parser).Parse("/" + strings.Join(names, "/")),
	} {
		var levels []Level
		for i, name := range names {
			n := uint64(i + 1)
			if i == owned {
				n |= 1 << 63
			}
			levels = append(levels, NewLevel(n, name))
		}
		c := new(Parser).New(0, len(levels), levels)
		if c.Container != want || c.Levels[2].ID != 3 {
			t.Errorf("level %d is a user's: %+v, want %+v", owned, c.Container, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(encode(1, 3, "a", "b", "c"))
	f.Add([]byte("short"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := new(Parser).Decode(b)
		if err != nil {
			if len(b) >= Size {
				t.Errorf("%d bytes: %v", len(b), err)
			}
			return
		}
		if len(c.Path) > 4+maxLevels*(1+nameSize) || c.Path[0] != '/' || !strings.HasPrefix(c.Path, c.Owner) {
			t.Errorf("path %q, owner %q", c.Path, c.Owner)
		}
	})
}
