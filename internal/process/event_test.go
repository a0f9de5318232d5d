package process

import (
	"encoding/binary"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// encode lays a process out as the kernel's side does, that runs the file 8 of the device
// 9 and generation 10. The levels that it did not write hold what was there before.
func encode(start time.Duration, pid, ppid, uid uint32, cgroup []byte) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(start))
	for _, n := range []uint32{pid, ppid, uid, 0, 8, 0, 9, 10, 0, 1} {
		b = binary.LittleEndian.AppendUint32(b, n)
	}
	return append(b, cgroup...)
}

// encodeCgroup lays out a cgroup of that depth; the ids of its levels are 1, 2, ...
func encodeCgroup(hierarchy, depth uint32, names ...string) []byte {
	b := binary.LittleEndian.AppendUint32(nil, hierarchy)
	b = binary.LittleEndian.AppendUint32(b, depth)
	for i := range cgroupLevels {
		name := [cgroupName]byte{'o', 'l', 'd'}
		if i < len(names) {
			copy(name[:], names[i]+"\x00")
		}
		b = binary.LittleEndian.AppendUint64(b, uint64(i+1))
		b = append(b, name[:]...)
	}
	return b
}

func TestEventsAreDecoded(t *testing.T) {
	got, err := Decode(encode(12_345_678_901, 4_000_000, 7, 4_294_967_294, encodeCgroup(5, 2, "a", "b")))
	want := Event{
		Who:  Who{PID: 4_000_000, PPID: 7, UID: 4_294_967_294, Start: 12_340 * time.Millisecond},
		File: FileID{Inode: 8, Device: 9, Generation: 10}, HostRoot: true,
		Cgroup: Cgroup{Hierarchy: 5, Depth: 2, Levels: []CgroupLevel{{1, "a"}, {2, "b"}}},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}

func TestTheCgroupOfAnEventIsAPath(t *testing.T) {
	long := strings.Repeat("n", cgroupName-1)
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
		"the most that are looked at":   {64, eight, "/a/b/c/d/e/f/g/h/..."},
		"more levels than there are":    {1<<32 - 1, eight, "/a/b/c/d/e/f/g/h/..."},
		"a name as long as fits":        {1, []string{long}, "/" + long},
		"a name that nothing ends":      {1, []string{long + "n"}, "/" + long + "n"},
		"bytes of a name after its end": {2, []string{"a\x00ld", "b\x00old"}, "/a/b"},
	} {
		got, err := Decode(encode(0, 1, 0, 0, encodeCgroup(0, c.depth, c.names...)))
		if err != nil || got.Cgroup.Path() != c.want {
			t.Errorf("%s: got %q, %v, want %q", name, got.Cgroup.Path(), err, c.want)
		}
	}
}

func TestAnEventMayHaveMoreBehindItButNotLess(t *testing.T) {
	whole := encode(0, 42, 0, 0, encodeCgroup(0, 1, "a"))
	if len(whole) != EventSize {
		t.Fatalf("%d bytes, EventSize is %d", len(whole), EventSize)
	}
	if got, err := Decode(append(slices.Clone(whole), "more"...)); err != nil || got.PID != 42 {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, size := range []int{0, 23, 24, EventSize - 1} {
		if got, err := Decode(whole[:size]); err == nil {
			t.Errorf("%d bytes are %+v", size, got)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(encode(1, 3, 4, 5, encodeCgroup(1, 3, "a", "b", "c")))
	f.Add([]byte("short"))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := Decode(b)
		if (err == nil) != (len(b) >= EventSize) {
			t.Fatalf("%d bytes: %v", len(b), err)
		}
		if err != nil {
			return
		}
		if path := e.Cgroup.Path(); len(path) > 4+cgroupLevels*(1+cgroupName) || path[0] != '/' {
			t.Errorf("cgroup %q", path)
		}
		if e.Start%ClockTick != 0 || e.PID < 0 || e.PPID < 0 {
			t.Errorf("%+v", e)
		}
	})
}
