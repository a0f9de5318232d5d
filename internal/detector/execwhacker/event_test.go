package execwhacker

import (
	"bytes"
	"testing"
	"unsafe"

	"github.com/cryptnono/cryptnono/internal/cgroup"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/report"
	"github.com/cryptnono/cryptnono/internal/verdict"
)

// encodeEvent encodes an event as the kernel program does.
func encodeEvent(raw bpfEvent, text string) []byte {
	head := unsafe.Slice((*byte)(unsafe.Pointer(&raw)), textAt)
	return append(bytes.Clone(head), text...)
}

func TestEventsAreDecoded(t *testing.T) {
	raw := bpfEvent{
		ExecNs: 7, Generation: 3, Ban: 2,
		PathLen: 8, ArgsLen: 6, ArgsTotal: 9, EnvLen: 4,
	}
	raw.Head.Outcome, raw.Head.Depth = uint32(verdict.OutcomeBanned), 2
	raw.Head.Who.Pid, raw.Head.Who.Uid = 42, 1000
	raw.Head.File.Inode = 5
	raw.Head.Cgroups = [8]uint64{10, 11}
	raw.Head.DirectoryLen, raw.Head.DirectoryEnd = 4, 1
	e, err := decodeEvent(encodeEvent(raw, "a\x00b c\x00dir\x00/bin/sh\x00sh\x00-c\x00A=1\x00"), cgroup.Parser{})
	if err != nil {
		t.Fatal(err)
	}
	if e.Directory.Path != "/dir" {
		t.Errorf("got the directory %+v", e.Directory)
	}
	if unsafe.Sizeof(raw.Head) != uintptr(verdict.HeadSize) {
		t.Errorf("the head has %d bytes, and %d in package verdict", unsafe.Sizeof(raw.Head), verdict.HeadSize)
	}
	if e.PID != 42 || e.UID != 1000 || e.File != (process.FileID{Inode: 5}) || e.Cgroup.Path != "/a/b c" {
		t.Errorf("got the process %+v", e.Event.Event)
	}
	if string(e.program) != "/bin/sh" || string(e.args) != "sh\x00-c\x00" || e.omitted != 3 || string(e.env) != "A=1\x00" {
		t.Errorf("got %q, %q, %q", e.program, e.args, e.env)
	}
	if !e.Killed || e.exec != 7 || e.generation != 3 || e.ban != 2 {
		t.Errorf("got %+v", e)
	}
	raw.Head.KillError, raw.Head.DirectoryLen = -1, 0
	if e, err := decodeEvent(encodeEvent(raw, "a\x00b\x00/bin/sh\x00sh\x00-c\x00A=1\x00"), cgroup.Parser{}); err != nil || e.Killed {
		t.Errorf("a kill that the kernel refused: %+v, %v", e, err)
	}
}

func FuzzEvent(f *testing.F) {
	raw := bpfEvent{PathLen: 2, ArgsLen: 1, ArgsTotal: 1}
	raw.Head.Cgroups[0] = 1
	f.Add(encodeEvent(raw, "a\x00p\x00x"))
	f.Add([]byte("short"))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := decodeEvent(b, cgroup.Parser{})
		if err != nil {
			return
		}
		if texts := len(e.program) + len(e.args) + len(e.env); len(b) < textAt || texts > len(b)-textAt {
			t.Errorf("%d bytes of text in %d", texts, len(b))
		}
		_ = report.Cmdline(e.args, e.omitted)
	})
}

func FuzzRecord(f *testing.F) {
	f.Add(make([]byte, recordSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r := decodeRecord(b); len(r.path) > 256 {
			t.Errorf("a path of %d bytes", len(r.path))
		}
	})
}

// The seed of an agent is random. With one half of zeros, which has a probability of 2^-31,
// other arguments may have the same fingerprint.
func FuzzFingerprint(f *testing.F) {
	const seed = 0x9d3f5c7a1b2e4d68
	f.Add([]byte("sh\x00-c\x00x\x00"), 3)
	f.Fuzz(func(t *testing.T, area []byte, at int) {
		r := record{arguments: fingerprint(area, seed), argumentsLen: uint64(len(area))}
		if r.arguments != 0 && !r.proves(area, seed) {
			t.Error("an area does not prove itself")
		}
		if at < 0 || at >= len(area) {
			return
		}
		other := bytes.Clone(area)
		other[at]++
		if r.proves(other, seed) || r.proves(area[:at], seed) {
			t.Errorf("other arguments have the fingerprint of %q", area)
		}
	})
}
