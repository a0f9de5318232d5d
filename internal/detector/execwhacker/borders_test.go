package execwhacker

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/rules"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// Random execs, with bans across the borders of what the kernel program reads at once.
func TestTheKernelJudgesExecsAcrossItsChunks(t *testing.T) {
	testutil.Privileged(t)
	const word, glued, prog, across, umlaut = "zqbordword", "zqbordglue://", "zqbordprog", "zqbordend zqbordpool", "zqbördwörd"
	set := rules.Set{Allowed: []rules.Pattern{{Expr: `(?s).* zqbordok.*`}, {Expr: `.*/zqbordfine good`}}}
	for _, b := range []rules.Ban{
		{Kind: rules.Word, Text: word}, {Kind: rules.Substring, Text: glued}, {Kind: rules.Program, Text: prog},
		{Kind: rules.Word, Text: across}, {Kind: rules.Word, Text: umlaut}, {Kind: rules.Substring, Text: "zqbordé"},
		{Kind: rules.Program, Text: "zqbördprog"},
		{Kind: rules.Program, Text: strings.Repeat("n", 250) + "zqbor"},
		{Kind: rules.Program, Text: "memfd:zqbordm"},
	} {
		b.Action = rules.Kill
		set.Bans = append(set.Bans, b)
	}
	_, m := loadSet(t, set)
	root, err := os.MkdirTemp("/tmp", "z") //nolint:usetesting // so short that paths have fewer than 64 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	text, err := os.ReadFile(testutil.BuildC(t, "test/victims/hello.c"))
	if err != nil {
		t.Fatal(err)
	}
	victim := filepath.Join(root, "v")
	if err := os.WriteFile(victim, text, 0o755); err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	seed := uint64(os.Getpid())
	t.Log("seed", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	pick := func(s ...string) string { return s[rnd.IntN(len(s))] }
	size := func() int {
		return []int{0, 1, 7, 8, 9, 55, 60, 63, 64, 65, 72, 127, 128, 129, 255, 256, 257, 511, 512, 513, 4095, 4096, 4097, 8190, 8191, 8192, 8193}[rnd.IntN(27)] + rnd.IntN(5) - 2
	}
	pad := func(s string, n int) string {
		if n <= len(s) {
			return s
		}
		return strings.Repeat(pick("x", "/", " ", "-", "é", "z"), n)[:n-len(s)] + s
	}
	bit := func() string {
		s := pick(word, glued, across, umlaut, "zqbordé", "zqbordend", "zqbordpool", "zqbord", "zqbordok", "x", "", "good", prog, "/"+prog)
		if rnd.IntN(3) == 0 {
			s = s + pick("x", " ", "-", "é", "_", "\xff")
		}
		if rnd.IntN(3) == 0 {
			s = pick("x", " ", "-", "é", "_", "\xff") + s
		}
		return s
	}
	counts := make(map[match.Outcome]int)
	rounds := testutil.Rounds(t, 2000)
	for i := range rounds {
		dir := filepath.Join(root, fmt.Sprint(i%10))
		must(os.RemoveAll(dir))
		must(os.Mkdir(dir, 0o755))
		name := pick("zqbordend", prog, "q", "zqbördprog", "zqbordfine", strings.Repeat("n", 250)+"zqbor", strings.Repeat("n", 249)+"xzqbor", "x"+prog, prog+"x", "zqbordé", "h")
		var path, fileName string
		var extra []uintptr
		var fd = -1
		how := rnd.IntN(6)
		switch how {
		case 0: // memfd
			mname := pick("zqbordm", "x", prog)
			fd, err = unix.MemfdCreate(mname, 0)
			if err != nil {
				t.Fatal(err)
			}
			_, err = unix.Write(fd, text)
			must(err)
			fileName = "memfd:" + mname
		case 1: // deleted
			f := filepath.Join(dir, name)
			must(os.Link(victim, f))
			fd, err = unix.Open(f, unix.O_PATH, 0)
			if err != nil {
				t.Fatal(err)
			}
			must(os.Remove(f))
			fileName = name
		case 2, 3: // symlink
			f := filepath.Join(dir, name)
			must(os.Link(victim, f))
			link := pick("l", prog, "x"+prog, "zqbordend", prog+"x", strings.Repeat("n", 250)+"zqbor", "zqbördprog", name+"l")
			if len(link) > 255 || link == name {
				link = "l"
			}
			if err := os.Symlink(f, filepath.Join(dir, link)); err != nil {
				t.Fatal(err)
			}
			path, fileName = dir+"/"+link, name
		default:
			f := filepath.Join(dir, name)
			must(os.Link(victim, f))
			path, fileName = f, name
		}
		if fd >= 0 {
			extra = []uintptr{0, 1, 2, uintptr(fd)}
			path = "/proc/self/fd/3"
		}
		// lengthen the path with slashes behind the directory
		if n := []int{0, 0, 62, 63, 64, 65, 66, 127, 128, 253, 254, 255, 256, 257, 2047, 2048}[rnd.IntN(16)]; n > len(path) {
			at := strings.LastIndex(path, "/")
			path = path[:at] + strings.Repeat("/", n-len(path)) + path[at:]
		}
		var argv []string
		for range rnd.IntN(4) {
			argv = append(argv, pad(bit(), size()))
		}
		if rnd.IntN(4) == 0 && len(argv) > 0 {
			argv[0] = pick(path, fileName, "")
		}
		for j := range argv {
			argv[j] = strings.ReplaceAll(argv[j], "\x00", "")
		}
		files := []uintptr{0, 1, 2}
		if extra != nil {
			files = extra
		}
		r, w, _ := os.Pipe()
		files[1] = w.Fd()
		pid, err := syscall.ForkExec(path, argv, &syscall.ProcAttr{Files: files, Env: []string{}})
		w.Close()
		if fd >= 0 {
			unix.Close(fd)
		}
		if err != nil {
			r.Close()
			t.Fatalf("%d %q: %v", how, path, err)
		}
		var st syscall.WaitStatus
		for {
			_, err = syscall.Wait4(pid, &st, 0, nil)
			if err != syscall.EINTR {
				break
			}
		}
		out := make([]byte, 10)
		n, _ := r.Read(out)
		r.Close()
		if len(argv) == 0 {
			argv = []string{""}
		}
		v := m.JudgeCommand(match.Command{Path: []byte(path), Name: []byte(fileName), Area: match.Area(argv)})
		counts[v.Outcome]++
		killed := st.Signaled() && st.Signal() == syscall.SIGKILL
		if killed != (v.Outcome == match.Banned) || killed && n > 0 {
			lens := []int{}
			for _, a := range argv {
				lens = append(lens, len(a))
			}
			t.Errorf("how %d path %d %q name %.40q argv %v %.300q: status %v, Go says %v %v", how, len(path), path, fileName, lens, argv, st, v.Outcome, v.Ban)
		}
	}
	t.Log(counts)
}
