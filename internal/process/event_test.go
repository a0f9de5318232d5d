package process

import (
	"bytes"
	"encoding/binary"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/cgroup"
)

// encode encodes a process like the BPF programs. Its file has inode 8, device 9 and
// generation 10. If at is nil, its cgroup is that of the previous process, of depth 2.
func encode(start time.Duration, pid, ppid, uid uint32, at []byte) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(start))
	same := uint32(0)
	if at == nil {
		same, at = 1, encodeCgroup(0, 2)[:cgroup.HeadSize]
	}
	root := uint32(0)
	if uid == 0 {
		root = 1
	}
	for _, n := range []uint32{pid, ppid, uid, root, 8, 0, 9, 10, 0, 1, same, 0} {
		b = binary.LittleEndian.AppendUint32(b, n)
	}
	return append(b, at...)
}

// encodeCgroup encodes a cgroup with these levels, whose ids are 1, 2, ...
func encodeCgroup(hierarchy, depth uint32, names ...string) []byte {
	const level = (cgroup.Size - cgroup.HeadSize) / 8
	b := make([]byte, cgroup.HeadSize+level*len(names))
	binary.LittleEndian.PutUint32(b, hierarchy)
	binary.LittleEndian.PutUint32(b[4:], depth)
	for i, name := range names {
		b[cgroup.HeadSize+i*level] = byte(i + 1)
		copy(b[cgroup.HeadSize+i*level+8:], name)
	}
	return b
}

// decodeAll returns the processes of a list, and the extra bytes before each.
func decodeAll(list []byte, extra int) (all []Event, extras string, err error) {
	err = DecodeAll(bytes.NewReader(list), extra, cgroup.Parser{}, func(b []byte, e Event) {
		all, extras = append(all, e), extras+string(b)
	})
	return all, extras, err
}

func TestAListIsDecoded(t *testing.T) {
	ab := encodeCgroup(5, 2, "a", "b")
	list := slices.Concat(
		[]byte("one"), encode(12_345_678_901, 4_000_000, 7, 4_294_967_294, ab),
		[]byte("two"), encode(10*time.Millisecond, 2, 1, 0, nil),
		[]byte("3.."), encode(0, 3, 2, 0, encodeCgroup(0, 0)),
		[]byte("4.."), encode(0, 4, 2, 0, encodeCgroup(0, 9, "a", "b", "c", "d", "e", "f", "g", "h")),
	)
	file := FileID{Inode: 8, Device: 9, Generation: 10}
	level := func(names ...string) (all []cgroup.Level) {
		for i, name := range names {
			all = append(all, cgroup.Level{ID: uint64(i + 1), Name: name})
		}
		return all
	}
	var p cgroup.Parser
	want := []Event{
		{
			Who:  Who{PID: 4_000_000, PPID: 7, UID: 4_294_967_294, Start: 12_340 * time.Millisecond},
			File: file, HostRoot: true, Cgroup: p.New(5, 2, level("a", "b")),
		},
		{Who: Who{PID: 2, PPID: 1, Start: 10 * time.Millisecond, RootOnHost: true}, File: file, HostRoot: true, Cgroup: p.New(5, 2, level("a", "b"))},
		{Who: Who{PID: 3, PPID: 2, RootOnHost: true}, File: file, HostRoot: true, Cgroup: p.New(0, 0, nil)},
		{Who: Who{PID: 4, PPID: 2, RootOnHost: true}, File: file, HostRoot: true, Cgroup: p.New(0, 9, level("a", "b", "c", "d", "e", "f", "g", "h"))},
	}
	got, extras, err := decodeAll(list, 3)
	if err != nil || !reflect.DeepEqual(got, want) || extras != "onetwo3..4.." {
		t.Errorf("got %+v, %q, %v, want %+v", got, extras, err, want)
	}
}

func TestATruncatedListIsAnError(t *testing.T) {
	list := encode(0, 42, 0, 0, encodeCgroup(0, 1, "a"))
	for size := 1; size < len(list); size++ {
		if got, _, err := decodeAll(list[:size], 0); err == nil {
			t.Errorf("%d bytes are %+v", size, got)
		}
	}
	if got, _, err := decodeAll(encode(0, 42, 0, 0, nil), 0); err == nil {
		t.Errorf("a process in the cgroup of none before is %+v", got)
	}
}

func FuzzDecodeAll(f *testing.F) {
	f.Add(slices.Concat(encode(1, 3, 4, 5, encodeCgroup(1, 3, "a", "b", "c")), encode(1, 4, 3, 0, nil)))
	f.Add([]byte("short"))
	f.Fuzz(func(t *testing.T, b []byte) {
		all, _, _ := decodeAll(b, 0)
		if len(all) > len(b)/(EventSize-cgroup.Size) {
			t.Errorf("%d processes in %d bytes", len(all), len(b))
		}
		for _, e := range all {
			if e.Start%ClockTick != 0 || e.PID < 0 || e.PPID < 0 || len(e.Cgroup.Levels) > 8 {
				t.Errorf("%+v", e)
			}
		}
	})
}
