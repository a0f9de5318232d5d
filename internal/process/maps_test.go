package process

import (
	"bufio"
	"bytes"
	"errors"
	"os/exec"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

// mapping starts a process that maps a file n times, or as often as it may.
func mapping(t *testing.T, length, n int) (h *Handle, mapped int) {
	t.Helper()
	cmd := exec.Command(testutil.BuildC(t, "test/victims/many_mappings.c"), t.TempDir(), strconv.Itoa(length), strconv.Itoa(n))
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	start(t, cmd)
	line, _ := bufio.NewReader(stdout).ReadString('\n')
	if mapped, err = strconv.Atoi(strings.TrimSpace(line)); err != nil {
		t.Fatal(err)
	}
	return handle(t, cmd.Process.Pid), mapped
}

func TestAllMappingsAreReadHoweverManyAndLong(t *testing.T) {
	h, mapped := mapping(t, 4000, 100_000)
	r := newReader(t)
	files, last := 0, uint64(0)
	err := r.Maps(t.Context(), h, "", func(m Mapping) error {
		if m.Start < last || m.End <= m.Start || len(m.Path) > maxMappingPath {
			t.Fatalf("after %#x there is %+v", last, m)
		}
		last = m.End
		if m.Inode != 0 && m.Perms == Readable && m.Size() == uint64(unix.Getpagesize()) && len(m.Path) == maxMappingPath {
			files++
		}
		return nil
	})
	if err != nil || files < mapped || mapped < 60_000 {
		t.Errorf("%d of %d mappings: %v", files, mapped, err)
	}
}

func TestWhoeverVisitsMappingsMayStop(t *testing.T) {
	h := handle(t, sleeper(t).Process.Pid)
	r := newReader(t)
	enough := errors.New("enough")
	n := 0
	err := r.Maps(t.Context(), h, "", func(Mapping) error { n++; return enough })
	if !errors.Is(err, enough) || n != 1 {
		t.Errorf("%d visits, %v", n, err)
	}
	if info, err := r.Read(t.Context(), h, ""); err != nil || len(info.Args) == 0 {
		t.Errorf("afterwards: %+v, %v", info, err)
	}
}

// Newer kernels answer questions about mappings, all have the text.
func TestTheAnswersOfTheKernelAreThoseOfTheText(t *testing.T) {
	h, _ := mapping(t, 1000, 1000)
	read := func(read func(*server, file, *mappingWriter) error) ([]Mapping, error) {
		f, err := openFile(procDir(h.pid) + "/maps")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		var out bytes.Buffer
		s := newServer(&out)
		w := mappingWriter{out: &s.out}
		if err := errors.Join(read(s, f, &w), w.flush()); err != nil {
			return nil, err
		}
		var all []Mapping
		for buf := make([]byte, maxFrame); out.Len() > 0; {
			_, data, err := readFrame(&out, buf)
			for err == nil && len(data) > 0 {
				var m Mapping
				if m, data, err = decodeMapping(data); m.Path != "[vsyscall]" { // which is no memory
					all = append(all, m)
				}
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		return all, nil
	}
	text, err := read(func(s *server, f file, w *mappingWriter) error { return s.parseMaps(f, w) })
	if err != nil || len(text) < 1000 {
		t.Fatalf("%d mappings, %v", len(text), err)
	}
	asked, err := read((*server).queryMaps)
	if errors.Is(err, unix.ENOTTY) {
		t.Skip("this kernel does not answer")
	}
	if err != nil || !reflect.DeepEqual(asked, text) {
		t.Errorf("%d mappings and %d are not the same: %v", len(asked), len(text), err)
	}
}

func TestLinesOfAMemoryMap(t *testing.T) {
	long := "/" + strings.Repeat("d/", 40)
	for name, c := range map[string]struct {
		line string
		want Mapping
	}{
		"a program":        {"55d0c0000000-55d0c0010000 r-xp 00000000 fe:01 131     /usr/bin/program", Mapping{0x55d0c0000000, 0x55d0c0010000, Readable | Executable, unix.Mkdev(0xfe, 1), 131, "/usr/bin/program", false}},
		"the heap":         {"1000-2000 rw-p 00000000 00:00 0          [heap]", Mapping{0x1000, 0x2000, Readable | Writable, 0, 0, "[heap]", false}},
		"without a name":   {"1000-2000 ---p 00000000 00:00 0 ", Mapping{0x1000, 0x2000, 0, 0, 0, "", false}},
		"a memory file":    {"1000-2000 rw-s 00000000 00:01 77 /memfd:a b (deleted)", Mapping{0x1000, 0x2000, Readable | Writable | Shared, 1, 77, "/memfd:a b (deleted)", true}},
		"a long path":      {"1000-2000 r--p 00000000 00:00 1 " + long + "x (deleted)", Mapping{0x1000, 0x2000, Readable, 0, 1, long[:64], true}},
		"above all others": {"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]", Mapping{0xffffffffff600000, 0xffffffffff601000, Executable, 0, 0, "[vsyscall]", false}},
	} {
		if got, err := parseMapping([]byte(c.line)); err != nil || got != c.want {
			t.Errorf("%s: got %+v, %v, want %+v", name, got, err, c.want)
		}
	}
	for _, line := range []string{"", "-", "1000-2000", "2000-1000 r--p 0 00:00 0", "1000-1000 r--p 0 00:00 0", "1000-2000 r-- 0 00:00 0", "x-2000 r--p 0 00:00 0"} {
		if got, err := parseMapping([]byte(line)); err == nil {
			t.Errorf("%q: got %+v", line, got)
		}
	}
}
