package execwhacker

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

// The kernel computes the fingerprint of arguments that it has in its buffer or reads again. At
// each length around the size of the buffer, and at each offset in a page, it proves the
// arguments of the exec and no others.
func TestAFingerprintProvesArgumentsOfEveryLength(t *testing.T) {
	d := load(t, "execwhackerfingerprinttestword")
	sizes := []int{1, 2, 3, 7, 8, 9, 15, 16, 17, 18, 23, 24, 25, 31, 32, 33, 8190, 8191, 8192, 8193, 8194, 12287, 12288, 12289,
		64*4096 - 1, 64 * 4096, 64*4096 + 1}
	for n := 4078; n <= 4114; n++ {
		sizes = append(sizes, n)
	}
	few := len(sizes) / testutil.Rounds(t, len(sizes))
	for i, size := range sizes {
		if i%few != 0 {
			continue
		}
		for _, args := range [][]string{area(size, 1), area(size, 2), area(size, 40), afterShort(size)} {
			if args == nil {
				continue
			}
			// The length of the environment shifts the area in its page.
			for shift := range 3 {
				cmd := &exec.Cmd{Path: "/bin/cat", Args: args, Env: []string{"SHIFT=" + strings.Repeat("x", 16*i+size%16+1360*shift)}}
				checkFingerprint(t, d, cmd, size)
			}
		}
	}
}

// area returns n arguments for cat that take size bytes, nil if size is too small.
func area(size, n int) []string {
	args := []string{""}
	size--
	for range n - 1 {
		args = append(args, "-")
		size -= 2
	}
	if size < 0 {
		return nil
	}
	const most = 128<<10 - 1 // bytes of one argument
	for size > most-1 {
		// argv[0] alone would be too long.
		option := min(size-1, most-1)
		args = append(args, strings.Repeat("u", option))
		args[len(args)-1] = "-" + args[len(args)-1][1:]
		size -= option + 1
	}
	args[0] = strings.Repeat("a", size)
	return args
}

// afterShort returns arguments for cat that take size bytes, of which argv[0] has few, as in nearly all
// commands; nil if size is too small or too large.
func afterShort(size int) []string {
	const name = "cat"
	options := size - len(name) - len("\x00-\x00")
	if options < 0 || options > 100<<10 {
		return nil
	}
	return []string{name, "-" + strings.Repeat("u", options)}
}

func checkFingerprint(t *testing.T, d *Detector, cmd *exec.Cmd, size int) {
	t.Helper()
	defer testutil.Answering(t, cmd, "\n")()
	found := find(t, d, cmd.Process.Pid)
	name := fmt.Sprintf("/proc/%d/", cmd.Process.Pid)
	args, err := os.ReadFile(name + "cmdline")
	if err != nil || len(args) != size {
		t.Fatalf("%d bytes of arguments, want %d: %v", len(args), size, err)
	}
	if !found.proves(args, d.seed) {
		t.Errorf("%d arguments of %d bytes are not proved", len(cmd.Args), size)
	}
	start := argStart(t, name)
	memory, err := os.OpenFile(name+"mem", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer memory.Close()
	for _, at := range []int{0, 7, 8, 15, 16, 4079, 4080, 4087, 4088, 4094, 4095, 4096, size / 2, size - 9, size - 2, size - 1} {
		if at < 0 || at >= size || at >= 64*4096 {
			continue
		}
		old := args[at]
		rewrite(t, memory, start+int64(at), old^1)
		now, err := os.ReadFile(name + "cmdline")
		if err != nil {
			t.Fatal(err)
		}
		if found.proves(now, d.seed) {
			t.Errorf("%d bytes of arguments are proved although byte %d was rewritten", size, at)
		}
		rewrite(t, memory, start+int64(at), old)
	}
	if now, err := os.ReadFile(name + "cmdline"); err != nil || !found.proves(now, d.seed) {
		t.Errorf("%d bytes of arguments are not proved after they were restored: %v", size, err)
	}
}

func rewrite(t *testing.T, memory *os.File, at int64, b byte) {
	t.Helper()
	if _, err := unix.Pwrite(int(memory.Fd()), []byte{b}, at); err != nil {
		t.Fatal(err)
	}
}

// argStart returns the address of the arguments of a process: field 48 of its stat.
func argStart(t *testing.T, dir string) (at int64) {
	t.Helper()
	text, err := os.ReadFile(dir + "stat")
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if _, err := fmt.Sscan(fields[48-3], &at); err != nil {
		t.Fatal(err)
	}
	return at
}
