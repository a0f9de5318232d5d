package process

import (
	"encoding/binary"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/cgroup"
)

// encode encodes a process like the BPF programs. Its file has inode 8, device 9 and
// generation 10.
func encode(start time.Duration, pid, ppid, uid uint32, at []byte) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(start))
	for _, n := range []uint32{pid, ppid, uid, 0, 8, 0, 9, 10, 0, 1} {
		b = binary.LittleEndian.AppendUint32(b, n)
	}
	return append(b, at...)
}

// encodeCgroup encodes a cgroup of this depth, whose levels have the ids 1, 2, ...
func encodeCgroup(hierarchy, depth uint32, names ...string) []byte {
	b := make([]byte, cgroup.Size)
	binary.LittleEndian.PutUint32(b, hierarchy)
	binary.LittleEndian.PutUint32(b[4:], depth)
	for i, name := range names {
		level := b[8+i*(cgroup.Size-8)/8:]
		level[0] = byte(i + 1)
		copy(level[8:], name)
	}
	return b
}

func TestEventsAreDecoded(t *testing.T) {
	got, err := Decode(encode(12_345_678_901, 4_000_000, 7, 4_294_967_294, encodeCgroup(5, 2, "a", "b")), cgroup.Parser{})
	want := Event{
		Who:  Who{PID: 4_000_000, PPID: 7, UID: 4_294_967_294, Start: 12_340 * time.Millisecond},
		File: FileID{Inode: 8, Device: 9, Generation: 10}, HostRoot: true,
		Cgroup: new(cgroup.Parser).New(5, 2, []cgroup.Level{{ID: 1, Name: "a"}, {ID: 2, Name: "b"}}),
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}

func TestAnEventMustNotBeTruncated(t *testing.T) {
	whole := encode(0, 42, 0, 0, encodeCgroup(0, 1, "a"))
	if len(whole) != EventSize {
		t.Fatalf("%d bytes, EventSize is %d", len(whole), EventSize)
	}
	if got, err := Decode(append(slices.Clone(whole), "more"...), cgroup.Parser{}); err != nil || got.PID != 42 {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, size := range []int{0, 23, 24, EventSize - 1} {
		if got, err := Decode(whole[:size], cgroup.Parser{}); err == nil {
			t.Errorf("%d bytes are %+v", size, got)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(encode(1, 3, 4, 5, encodeCgroup(1, 3, "a", "b", "c")))
	f.Add([]byte("short"))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := Decode(b, cgroup.Parser{})
		if (err == nil) != (len(b) >= EventSize) {
			t.Fatalf("%d bytes: %v", len(b), err)
		}
		if err != nil {
			return
		}
		if e.Start%ClockTick != 0 || e.PID < 0 || e.PPID < 0 {
			t.Errorf("%+v", e)
		}
	})
}
