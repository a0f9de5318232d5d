package procread

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/cryptnono/cryptnono/internal/process"
)

func TestDecodingReversesEncoding(t *testing.T) {
	for name, q := range map[string]request{
		"arguments": {kind: requestArgs, flags: requestNoMemory, image: process.Image{PID: 1, TID: 4_000_000_000,
			Layout: process.Layout{Stack: 1<<64 - 1, ArgStart: 1, ArgEnd: 1 << 63, EnvStart: 2}}},
		"variables": {kind: requestEnviron, image: process.Image{PID: 7}, names: []string{"A", "", "LONG" + strings.Repeat("x", 20_000)}},
		"mappings":  {kind: requestMaps, image: process.Image{PID: 7, TID: 8}},
		"a file": {kind: requestFile, mapping: Mapping{Start: 1, End: 1<<64 - 1, Device: 1 << 40, Inode: 5, Path: strings.Repeat("p", maxPath)},
			ranges: slices.Repeat([]Range{{1<<64 - 2, 1<<64 - 1}}, maxPartRanges)},
		"an identity": {kind: requestFile, mapping: Mapping{Inode: 1}},
		"memory":      {kind: requestMemory, ranges: []Range{{1, maxPart}, {7, 7}}},
		"a path":      {kind: requestActivity, names: []string{"/tmp/x"}},
		"processes":   {kind: requestBriefs, of: []Want{{PID: 1}, {PID: 1 << 22, Program: true}}},
	} {
		got, err := readRequest(bytes.NewReader(q.encode()))
		if err != nil || !reflect.DeepEqual(got, q) {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
	b := append(appendState(nil, briefGone), briefRead, 1, 0, 2, 0, 'p', 'a', 'b')
	gone, state, b, err := decodeBrief(b)
	if err != nil || state != briefGone || !gone.Gone {
		t.Errorf("got %+v, %v", gone, err)
	}
	read, state, b, err := decodeBrief(b)
	if err != nil || state != briefRead || read.Gone || string(read.Program) != "p" || string(read.Args) != "ab" || len(b) > 0 {
		t.Errorf("got %+v, %q, %v", read, b, err)
	}
	for _, volatile := range []bool{false, true} {
		id := FileID{1<<64 - 1, 2, -1, 1 << 60, -5, volatile}
		if got, err := decodeFileID(id.encode()); err != nil || got != id {
			t.Errorf("got %+v, %v", got, err)
		}
	}
	for _, a := range []Activity{{}, {1, 2, 3, true, 1 << 63, false, true}, {HostNetwork: true}} {
		if got, err := decodeActivity(a.encode()); err != nil || got != a {
			t.Errorf("got %+v, %v", got, err)
		}
	}
	if name, value, err := decodeVariable(encodeVariable("NAME", "")); err != nil || name != "NAME" || value != "" {
		t.Errorf("got %q, %q, %v", name, value, err)
	}
}

func TestInvalidRangesAreErrors(t *testing.T) {
	for name, q := range map[string]request{
		"too many":             {kind: requestMemory, ranges: make([]Range, maxPartRanges+1)},
		"too long":             {kind: requestMemory, ranges: []Range{{0, maxPart}, {0, 1}}},
		"an end before start":  {kind: requestFile, ranges: []Range{{2, 1}}},
		"too long a path":      {kind: requestFile, mapping: Mapping{Path: strings.Repeat("p", maxPath+1)}},
		"an unknown kind":      {kind: requestConnections + 1},
		"neither kind nor any": {},
	} {
		if got, err := readRequest(bytes.NewReader(q.encode())); !errors.Is(err, errProtocol) {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
	for _, kind := range []requestKind{requestFile, requestMemory} {
		b := request{kind: kind, ranges: []Range{{1, 2}, {3, 4}}}.encode()
		for size := requestHead; size < len(b); size++ {
			binary.LittleEndian.PutUint32(b, uint32(size-4))
			if got, err := readRequest(bytes.NewReader(b[:size])); !errors.Is(err, errProtocol) {
				t.Errorf("%d of %d bytes: %+v, %v", size, len(b), got, err)
			}
		}
	}
}

func TestAPieceBeyondTheRangesIsAnError(t *testing.T) {
	p := newPieces([]Range{{10, 12}}, func(uint64, []byte) error { return nil })
	if err := p.add(make([]byte, pieceHead+2)); err != nil {
		t.Error(err)
	}
	for _, frame := range [][]byte{make([]byte, pieceHead+1), make([]byte, pieceHead-1)} {
		if err := p.add(frame); !errors.Is(err, errProtocol) {
			t.Errorf("%d bytes: %v", len(frame), err)
		}
	}
}

func TestInvalidFramesAreErrors(t *testing.T) {
	for name, frame := range map[string]string{
		"a frame above the limit":   string([]byte{byte(frameData), 1, 0, 1, 0}),
		"an unknown kind":           "\x00\x00\x00\x00\x00",
		"an end without flags":      string([]byte{byte(frameEnd), 0, 0, 0, 0}),
		"an error without an errno": string([]byte{byte(frameError), 3, 0, 0, 0, 'a', 'b', 'c'}),
		"other output of a program": "panic: out of memory",
	} {
		if _, _, err := readFrame(strings.NewReader(frame), make([]byte, maxFrame)); !errors.Is(err, errProtocol) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// answers serves requests in this process.
func answers(t *testing.T, requests []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := serve(bytes.NewReader(requests), &out); err != nil && !errors.Is(err, errProtocol) && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestTheErrorForAMissingProcessIsSent(t *testing.T) {
	for _, kind := range []requestKind{requestArgs, requestEnviron, requestMaps, requestFile, requestMemory, requestActivity, requestConnections} {
		in := bytes.NewReader(answers(t, request{kind: kind, image: process.Image{PID: 1 << 30}}.encode()))
		buf := make([]byte, maxFrame)
		if kind, _, err := readFrame(in, buf); err != nil || kind != frameHello {
			t.Fatal(kind, err)
		}
		_, err := readAnswer(in, buf, func([]byte) error { return nil })
		if !errors.Is(err, syscall.ENOENT) || !strings.Contains(err.Error(), "/proc/1073741824/") {
			t.Errorf("got %v", err)
		}
	}
}

func FuzzRequests(f *testing.F) {
	f.Add(request{kind: requestArgs, image: process.Image{PID: 1 << 30}}.encode())
	f.Add(request{kind: requestEnviron, names: []string{"A", "B"}}.encode())
	f.Add(request{kind: requestBriefs, of: []Want{{PID: 7, Program: true}}}.encode())
	f.Add(request{kind: requestFile, mapping: Mapping{Start: 1, End: 2, Path: "/p"}, ranges: []Range{{1, 2}}}.encode())
	f.Add(request{kind: requestMemory, ranges: []Range{{1, 2}, {3, 4}}}.encode())
	f.Add(request{kind: requestActivity, names: []string{"/tmp/x"}}.encode())
	f.Add(request{kind: requestProgram, names: WantedProgram{Path: "/p"}.encode()}.encode())
	f.Add([]byte("\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, in []byte) {
		q, err := readRequest(bytes.NewReader(in))
		if err != nil {
			return
		}
		if again, err := readRequest(bytes.NewReader(q.encode())); err != nil || !reflect.DeepEqual(again, q) {
			t.Errorf("%+v becomes %+v, %v", q, again, err)
		}
	})
}

func FuzzAnswers(f *testing.F) {
	var out bytes.Buffer
	w := frameWriter{w: &out}
	for kind, content := range map[frameKind][]byte{
		frameData: encodeVariable("NAME", "value"), frameEnd: {endTruncated}, frameError: []byte("\x02\x00\x00\x00no"),
	} {
		out.Reset()
		if err := w.write(kind, content); err != nil {
			f.Fatal(err)
		}
		f.Add(slices.Clone(out.Bytes()))
	}
	out.Reset()
	if err := w.write(frameData, FileID{1, 2, 3, 4, 5, true}.encode()); err != nil {
		f.Fatal(err)
	}
	f.Add(slices.Clone(out.Bytes()))
	f.Fuzz(func(t *testing.T, in []byte) {
		total := 0
		_, err := readAnswer(bytes.NewReader(in), make([]byte, maxFrame), func(data []byte) error {
			total += len(data)
			if name, value, err := decodeVariable(data); err == nil && !bytes.Equal(encodeVariable(name, value), data) {
				t.Errorf("%q becomes %q, %q", data, name, value)
			}
			if id, err := decodeFileID(data); err == nil && !bytes.Equal(id.encode(), data) {
				t.Errorf("%q becomes %+v", data, id)
			}
			if a, err := decodeActivity(data); err == nil && !bytes.Equal(a.encode(), data) {
				t.Errorf("%q becomes %+v", data, a)
			}
			if p, err := decodeProgram(data); err == nil && !bytes.Equal(p.encode(), data) {
				t.Errorf("%q becomes %+v", data, p)
			}
			if c, err := decodeConnections(data); err == nil && !bytes.Equal(c.encode(), data) {
				t.Errorf("%q becomes %+v", data, c)
			}
			for b, _, rest, err := decodeBrief(data); err == nil; b, _, rest, err = decodeBrief(data) {
				if len(rest)+briefHead+len(b.Program)+len(b.Args) != len(data) {
					t.Errorf("%q is taken for %+v and %q", data, b, rest)
				}
				data = rest
			}
			return nil
		})
		if total > len(in) {
			t.Errorf("%d bytes of %d, %v", total, len(in), err)
		}
	})
}

func FuzzArguments(f *testing.F) {
	f.Add([]byte("a\x00x\x00\x00\x00"), []byte{0, 2})
	f.Fuzz(func(t *testing.T, area, pointers []byte) {
		c := newArgCheckOf(len(area))
		for _, p := range pointers {
			c.addPointer(uint64(p))
		}
		half := len(area) / 2
		c.add(area[:half])
		c.add(area[half:])
		// The next byte would not be part of the area.
		if c.original() && len(area) > 0 && area[len(area)-1] != 0 {
			t.Errorf("%q with arguments at %v", area, pointers)
		}
		c.add([]byte{0})
		if c.original() {
			t.Error("more bytes than the area are accepted")
		}
	})
}
