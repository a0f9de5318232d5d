package verdict

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/cryptnono/cryptnono/internal/cgroup"
	"github.com/cryptnono/cryptnono/internal/evidence"
)

// encodeHead encodes a head and its text as a kernel program does.
func encodeHead(h bpfEventHead, text string) []byte {
	return append(bytes.Clone(unsafe.Slice((*byte)(unsafe.Pointer(&h)), HeadSize)), text...)
}

func TestTheLineageOfAKilledProcessIsDecoded(t *testing.T) {
	parent := bpfAncestor{StartNs: uint64(time.Second + 1), Cgroup: 11, Pid: 41, Uid: 1000}
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&parent.Program)), len(parent.Program)), "sh\x00garbage")
	ancestors := string(unsafe.Slice((*byte)(unsafe.Pointer(&parent)), ancestorSize)) + strings.Repeat("\xff", ancestorSize)
	var h bpfEventHead
	h.Cgroups[0], h.Ancestors, h.DirectoryLen, h.DirectoryEnd = 10, 2, 4, uint8(bpfWayUpWAY_TO_ROOT)
	text := "a\x00" + ancestors + "b\x00a\x00the rest"
	e, rest, err := DecodeEvent(encodeHead(h, text), HeadSize, cgroup.Parser{})
	if err != nil || string(rest) != "the rest" {
		t.Fatalf("%q is left, %v", rest, err)
	}
	if len(e.Ancestors) != 2 || e.Ancestors[0] != (evidence.Ancestor{PID: 41, Start: time.Second, UID: 1000, Cgroup: 11, Program: "sh"}) || len(e.Ancestors[1].Program) != 40 {
		t.Errorf("got the ancestors %+v", e.Ancestors)
	}
	if e.Directory != (evidence.Directory{Path: "/a/b"}) {
		t.Errorf("got the directory %+v", e.Directory)
	}
	h.Ancestors = 1<<32 - 1
	if e, _, err := DecodeEvent(encodeHead(h, text), HeadSize, cgroup.Parser{}); err == nil {
		t.Errorf("too few ancestors: %+v", e)
	}
	h.Ancestors, h.DirectoryLen = 2, 13
	if e, _, err := DecodeEvent(encodeHead(h, text), HeadSize, cgroup.Parser{}); err == nil {
		t.Errorf("too short a directory: %+v", e)
	}
}

func TestDirectoriesAreDecoded(t *testing.T) {
	const cut, root, outside = uint8(bpfWayUpWAY_CUT), uint8(bpfWayUpWAY_TO_ROOT), uint8(bpfWayUpWAY_OUTSIDE)
	for _, c := range []struct {
		names   string
		end     uint8
		removed bool
		want    evidence.Directory
	}{
		{"", root, false, evidence.Directory{Path: "/"}},
		{"c\x00b \n\x00\xffa\x00", root, false, evidence.Directory{Path: "/\xffa/b \n/c"}},
		{"b\x00a\x00", root, true, evidence.Directory{Path: "/a/b (deleted)"}},
		{"", outside, false, evidence.Directory{Path: "(unreachable)/"}},
		{"b\x00a\x00", outside, false, evidence.Directory{Path: "(unreachable)/a/b"}},
		{"b\x00a\x00", cut, false, evidence.Directory{Path: "/a/b", Cut: true}},
		{"b\x00a\x00", 77, false, evidence.Directory{Path: "/a/b", Cut: true}},
		{"", cut, true, evidence.Directory{}},
	} {
		if got := decodeDirectory([]byte(c.names), c.end, c.removed); got != c.want {
			t.Errorf("%q: got %+v, want %+v", c.names, got, c.want)
		}
	}
}
