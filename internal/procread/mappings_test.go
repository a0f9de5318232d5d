package procread

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// mappings returns all mappings of a process.
func mappings(t testing.TB, r *Reader, h *process.Handle) (all []Mapping) {
	t.Helper()
	var err error
	for range 100 {
		all = nil
		err = r.Mappings(t.Context(), h, "", func(m Mapping) error { all = append(all, m); return nil })
		if err == nil {
			return all
		}
		time.Sleep(testutil.Patience(time.Millisecond)) // it has just been started
	}
	t.Fatal(err)
	return nil
}

// mappingOf returns the first mapping that fits.
func mappingOf(t testing.TB, r *Reader, h *process.Handle, fits func(Mapping) bool) Mapping {
	t.Helper()
	all := mappings(t, r, h)
	i := slices.IndexFunc(all, fits)
	if i < 0 {
		t.Fatalf("no mapping fits among %+v", all)
	}
	return all[i]
}

// mapFile maps a file into this process until the end of the test. It returns the mapping
// as the reader finds it, and its memory.
func mapFile(t testing.TB, r *Reader, f *os.File, length, protection, flags int) (Mapping, []byte) {
	t.Helper()
	memory, err := unix.Mmap(int(f.Fd()), 0, length, protection, flags)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Munmap(memory); err != nil {
			t.Error(err)
		}
	})
	start := addressOf(memory)
	return mappingOf(t, r, self(t), func(m Mapping) bool { return m.Start == start }), memory
}

// self returns a handle of this process.
func self(t testing.TB) *process.Handle {
	t.Helper()
	h, err := process.Open(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

// naive parses a list of mappings in a simpler way.
func naive(text string) (all []Mapping, err error) {
	form := regexp.MustCompile(`^([0-9a-f]+)-([0-9a-f]+) ([r-])([w-])([x-])([ps]) ([0-9a-f]+) ([0-9a-f]+):([0-9a-f]+) ([0-9]+) +([^\n]*)\n$`)
	for line := range strings.Lines(text) {
		f := form.FindStringSubmatch(line)
		if f == nil {
			return nil, fmt.Errorf("%q is not as expected", line)
		}
		number := func(i, base int) uint64 {
			n, invalid := strconv.ParseUint(f[i], base, 64)
			err = errors.Join(err, invalid)
			return n
		}
		all = append(all, Mapping{
			Start: number(1, 16), End: number(2, 16), Read: f[3] == "r", Write: f[4] == "w", Execute: f[5] == "x", Shared: f[6] == "s",
			Offset: number(7, 16), Device: unix.Mkdev(uint32(number(8, 16)), uint32(number(9, 16))), Inode: number(10, 10), Path: f[11],
		})
	}
	return all, err
}

func TestMappingsAreThoseThatTheKernelLists(t *testing.T) {
	dir := t.TempDir()
	long := makeAll(t, dir, strings.Repeat("/"+strings.Repeat("d", 250), 17))
	r := newReader(t)
	for _, program := range []string{
		filepath.Join(dir, "doze"), filepath.Join(dir, "a b  c"), filepath.Join(dir, "a\nb\\012"), filepath.Join(dir, "x (deleted)"),
		fmt.Sprintf("/proc/self/fd/%d/doze", long),
	} {
		copyOfSleep(t, program)
		t.Cleanup(func() { os.Remove(program) })
		cmd := testutil.Start(t, exec.Command(program, "600"))
		h := handle(t, cmd.Process.Pid)
		var got []Mapping
		var text []byte
		testutil.Eventually(t, "a process that changes its mappings no more", func() bool {
			var err error
			got = mappings(t, r, h)
			if text, err = os.ReadFile(process.Dir(h.PID()) + "/maps"); err != nil {
				t.Fatal(err)
			}
			return strings.Count(string(text), "\n") == len(got)
		})
		want, err := naive(string(text))
		if err != nil {
			t.Fatal(err)
		}
		for i := range want {
			want[i].Path = want[i].Path[:min(len(want[i].Path), maxPath)]
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: got %+v, want %+v", program, got, want)
		}
		var st unix.Stat_t
		if err := unix.Stat(program, &st); err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(got, func(m Mapping) bool { return m.Execute && m.Device == st.Dev && m.Inode == st.Ino }) {
			t.Errorf("%q, inode %d, is not among %+v", program, st.Ino, got)
		}
	}
}

func TestManyMappingsAreListedInBoundedTimeAndMemory(t *testing.T) {
	const n = 65_000
	cmd := exec.Command(testutil.BuildC(t, "test/victims/many_maps.c"), fmt.Sprint(n))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	testutil.Start(t, cmd)
	if _, err := io.ReadFull(out, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	r, h := newReader(t), handle(t, cmd.Process.Pid)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	count, began := 0, time.Now()
	if err := r.Mappings(t.Context(), h, "", func(Mapping) error { count++; return nil }); err != nil || count < n {
		t.Errorf("%d mappings, %v", count, err)
	}
	took := time.Since(began)
	runtime.ReadMemStats(&after)
	t.Logf("%d mappings in %v, %d bytes allocated", count, took, after.TotalAlloc-before.TotalAlloc)
	if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 1<<20 || took > testutil.Patience(5*time.Second) {
		t.Errorf("%d mappings in %v, %d bytes allocated", count, took, allocated)
	}
}

// Long paths do not hide the mappings at higher addresses.
func TestNoMappingIsLeftOutForLongPaths(t *testing.T) {
	dir := makeAll(t, t.TempDir(), strings.Repeat("/"+strings.Repeat("d", 250), 15))
	path := fmt.Sprintf("/proc/self/fd/%d/file", dir)
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	t.Cleanup(func() { os.Remove(path) })
	if err := f.Truncate(4096); err != nil {
		t.Fatal(err)
	}
	for range maxMapsBytes/3750 + 100 {
		memory, err := unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ, unix.MAP_SHARED)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = unix.Munmap(memory) }()
	}
	all := mappings(t, newReader(t), self(t))
	if len(all) < maxMapsBytes/3750+100 {
		t.Errorf("%d mappings", len(all))
	}
	if last := all[len(all)-1].Path; !strings.HasPrefix(last, "[") { // of the kernel
		t.Errorf("the last one is %q", last)
	}
}

func TestAListOfMappingsIsBounded(t *testing.T) {
	var c mapsCutter
	line := []byte(strings.Repeat("x", maxMapsLine+100) + "\n")
	sent, lines := 0, 0
	for c.enough() == nil {
		text := c.cut(slices.Clone(line[:1000]))
		text = append(text, c.cut(slices.Clone(line[1000:]))...)
		if len(text) != maxMapsLine+1 && len(text) != shortMapsLine+1 && c.enough() == nil {
			t.Fatalf("a line of %d bytes", len(text))
		}
		sent, lines = sent+len(text), lines+1
	}
	if sent != maxMapsBytes || lines < 65530 {
		t.Errorf("%d bytes, %d lines", sent, lines)
	}
}

func TestAVisitThatEndsAListDoesNotEndTheChild(t *testing.T) {
	r, h := newReader(t), handle(t, testutil.Sleeper(t).Process.Pid)
	enough := errors.New("enough")
	var children []int
	for range 3 {
		calls := 0
		if err := r.Mappings(t.Context(), h, "", func(Mapping) error { calls++; return enough }); !errors.Is(err, enough) || calls != 1 {
			t.Errorf("%d calls, %v", calls, err)
		}
		children = append(children, childOf(r))
	}
	if len(slices.Compact(children)) != 1 {
		t.Errorf("the children were %v", children)
	}
}

func TestTheMappingsOfTwoProgramsAreNotMixed(t *testing.T) {
	program := testutil.BuildC(t, "test/victims/exec_turns.c", "-static")
	other := filepath.Join(t.TempDir(), "other")
	text, err := os.ReadFile(program)
	if err == nil {
		err = os.WriteFile(other, text, 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	h := handle(t, testutil.Start(t, exec.Command(program, other)).Process.Pid)
	r := newReader(t)
	whole, failed := 0, 0
	for range testutil.Thorough(4000) {
		first, second, stack := 0, 0, 0
		err := r.Mappings(t.Context(), h, "", func(m Mapping) error {
			switch m.Path {
			case program:
				first++
			case other:
				second++
			case "[stack]":
				stack++
			}
			return nil
		})
		switch {
		case err != nil:
			failed++
		case first > 0 == (second > 0), stack != 1:
			t.Fatalf("%d mappings of one program, %d of another, %d stacks", first, second, stack)
		default:
			whole++
		}
	}
	t.Logf("%d lists, %d errors", whole, failed)
	if whole == 0 {
		t.Error("no list was read")
	}
}

func TestMalformedMappingsAreErrors(t *testing.T) {
	const good = "7f00-8000 r-xp 00001000 fe:00 12 /bin/a\n"
	for _, text := range []string{
		"\n", "x\n", good[:20] + "\n", good[:len(good)-1], good + good[:10],
		strings.Replace(good, "7f00", "8000", 1), strings.Replace(good, "7f00", "", 1), strings.Replace(good, "8000", "10000000000000000", 1),
		strings.Replace(good, "r-xp", "r-x", 1), strings.Replace(good, "r-xp", "r-xpp", 1), strings.Replace(good, "r-xp", "x-rp", 1),
		strings.Replace(good, "r-xp", "r-x-", 1), strings.Replace(good, "fe:00", "fe.00", 1), strings.Replace(good, "12 ", "1x ", 1),
		strings.Replace(good, "12 ", "-1 ", 1), strings.Replace(good, "12 /bin/a", "12", 1),
	} {
		var p mapsParser
		p.visit = func(Mapping) error { return nil }
		if err := errors.Join(p.add([]byte(text)), p.end()); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
}

func FuzzMappings(f *testing.F) {
	text, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text[:bytes.LastIndexByte(text[:min(len(text), 4096)], '\n')+1], 5)
	f.Add([]byte("1-2 r-xp 0 fe:0 12 /a\n2-3 rw-s 0 0:0 0 \n"), 9)
	f.Add([]byte("7f00-8000 r-xp 00001000 fe:00 12                     /bin/"+strings.Repeat("a", maxMapsLine)+"\n8000-9000 rw-s 0 00:00 0 \n"), maxMapsLine+50)
	f.Fuzz(func(t *testing.T, text []byte, cut int) {
		parse := func(pieces ...[]byte) (all []Mapping, err error) {
			p := mapsParser{visit: func(m Mapping) error { all = append(all, m); return nil }}
			for _, piece := range pieces {
				if err := p.add(piece); err != nil {
					return all, err
				}
				if len(p.line) > maxMapsLine {
					t.Errorf("a line of %d bytes is kept", len(p.line))
				}
			}
			return all, p.end()
		}
		got, err := parse(text)
		at := min(max(cut, 0), len(text))
		if again, err2 := parse(text[:at], nil, text[at:]); !slices.Equal(got, again) || (err == nil) != (err2 == nil) {
			t.Errorf("in two pieces: %+v, %v; in one: %+v, %v", again, err2, got, err)
		}
		if err != nil || len(got) > strings.Count(string(text), "\n") {
			return
		}
		for _, m := range got {
			mode := []byte("---p")
			for i, set := range []bool{m.Read, m.Write, m.Execute, m.Shared} {
				if set {
					mode[i] = "rwxs"[i]
				}
			}
			if len(m.Path) > maxPath || m.End <= m.Start {
				t.Errorf("%+v", m)
			}
			// As the kernel writes it.
			line := fmt.Sprintf("%08x-%08x %s %08x %02x:%02x %d ", m.Start, m.End, mode, m.Offset, unix.Major(m.Device), unix.Minor(m.Device), m.Inode)
			if m.Path != "" {
				line = fmt.Sprintf("%-73s%s", line, m.Path)
			}
			again, err := parse([]byte(line + "\n"))
			if err != nil || len(again) != 1 || again[0] != m {
				t.Errorf("%q is %+v, %v; want %+v", line, again, err, m)
			}
			if reference, err := naive(line + "\n"); err != nil || reference[0] != m {
				t.Errorf("%q is %+v, %v; want %+v", line, reference, err, m)
			}
		}
	})
}
