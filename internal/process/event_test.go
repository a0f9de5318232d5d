package process

import (
	"encoding/binary"
	"strings"
	"testing"
	"time"
)

// encode lays a process out as the kernel's side does, the names of the cgroups
// from the process's own upwards.
func encode(start time.Duration, cgroupID uint64, pid, ppid, uid uint32, names ...string) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(start))
	b = binary.LittleEndian.AppendUint64(b, cgroupID)
	for _, n := range []uint32{pid, ppid, uid, 0} {
		b = binary.LittleEndian.AppendUint32(b, n)
	}
	for i := range cgroupLevels {
		var name [cgroupName]byte
		if i < len(names) {
			copy(name[:], names[i])
		}
		b = append(b, name[:]...)
	}
	return b
}

func TestEventsAreDecoded(t *testing.T) {
	got, err := Decode(encode(12_345_678_901, 1<<40, 4_000_000, 7, 4_294_967_294, "c", "b", "a", ""))
	want := Event{PID: 4_000_000, PPID: 7, UID: 4_294_967_294, Start: 12_340 * time.Millisecond,
		CgroupID: 1 << 40, Cgroup: "/a/b/c"}
	if err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}

func TestTheCgroupOfAnEventIsAPath(t *testing.T) {
	long := strings.Repeat("n", cgroupName-1)
	for name, c := range map[string]struct {
		names []string
		want  string
	}{
		"the root":                         {nil, "/"},
		"one level":                        {[]string{"a", ""}, "/a"},
		"seven levels and the root":        {[]string{"g", "f", "e", "d", "c", "b", "a", ""}, "/a/b/c/d/e/f/g"},
		"eight levels, and who knows what": {[]string{"h", "g", "f", "e", "d", "c", "b", "a"}, ".../a/b/c/d/e/f/g/h"},
		"a name as long as fits":           {[]string{long, ""}, "/" + long},
		"a name that nothing ends":         {[]string{long + "n", ""}, "/" + long + "n"},
		"what lies above the root is old":  {[]string{"b", "", "x", "y"}, "/b"},
		"bytes of a name after its end":    {[]string{"b\x00old", "a\x00ld", "\x00old"}, "/a/b"},
	} {
		got, err := Decode(encode(0, 0, 1, 0, 0, c.names...))
		if err != nil || got.Cgroup != c.want {
			t.Errorf("%s: got %q, %v, want %q", name, got.Cgroup, err, c.want)
		}
	}
}

func TestAnEventMayHaveMoreBehindItButNotLess(t *testing.T) {
	whole := encode(0, 0, 42, 0, 0, "a")
	if len(whole) != EventSize {
		t.Fatalf("%d bytes, EventSize is %d", len(whole), EventSize)
	}
	if got, err := Decode(append(whole, "more"...)); err != nil || got.PID != 42 {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, size := range []int{0, 31, 32, EventSize - 1} {
		if got, err := Decode(whole[:size]); err == nil {
			t.Errorf("%d bytes are %+v", size, got)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(encode(1, 2, 3, 4, 5, "c", "b", "a"))
	f.Add([]byte("short"))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := Decode(b)
		if (err == nil) != (len(b) >= EventSize) {
			t.Fatalf("%d bytes: %v", len(b), err)
		}
		if err != nil {
			return
		}
		if len(e.Cgroup) > 3+cgroupLevels*(1+cgroupName) || !strings.Contains(e.Cgroup, "/") {
			t.Errorf("cgroup %q", e.Cgroup)
		}
		if e.Start%ClockTick != 0 || e.PID < 0 || e.PPID < 0 {
			t.Errorf("%+v", e)
		}
	})
}
