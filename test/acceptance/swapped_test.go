package acceptance

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cryptnono/cryptnono/internal/testutil"
	"github.com/cryptnono/cryptnono/test/agenttest"
)

// If arguments exceed the memory limit of a cgroup, they are swapped out while the kernel still
// copies them, and again while they are searched. From Linux 6.18 on they are read before the first
// instruction, however often a ban has to be looked at. On older kernels user space reads them later; the
// test logs how many programs had overwritten them by then, in a line that test/kernels parses.
func TestArgumentsThatAreSwappedOut(t *testing.T) {
	testutil.Privileged(t)
	needSwap(t)
	const limit, pages = 1 << 20, 50
	act, enter := testutil.BuildC(t, "test/victims/act.c", "-static"), testutil.BuildC(t, "test/victims/enter.c")
	word, part, other := agenttest.NewWord(), agenttest.NewWord(), agenttest.NewWord()
	// Whether a ban spares a shell takes another look at its arguments, and so does a combination.
	a := start(t, agenttest.Rules{Strings: []string{word}, Combinations: [][]string{{part, other}}, SpareShells: true})
	group := agenttest.MemoryLimit(t, "acceptance-swapped", limit)
	// The last argument is copied first and so swapped out first.
	long := append([]string{act}, slices.Repeat([]string{strings.Repeat("x ", 50_000)}, 15)...)
	file := filepath.Join(t.TempDir(), "arguments")
	wipes := func(last ...string) bool {
		t.Helper()
		if err := os.WriteFile(file, []byte(strings.Join(slices.Concat(long, last), "\x00")+"\x00"), 0o600); err != nil {
			t.Fatal(err)
		}
		for range 20 {
			before := oomKills(t, group)
			lived, err := outlivesAs(t, "wipe", act, []string{enter, group, file}, func(*exec.Cmd) {})
			if err != nil {
				t.Fatal(err)
			}
			if os.Remove(file+".failed") != nil && oomKills(t, group) == before {
				return lived
			} // or there was too little memory
		}
		t.Fatal("the exec fails with so little memory")
		return false
	}

	if !wipes("legitimate") {
		t.Error("a legitimate program was killed")
	}
	tries, lived := max(trickTries(t)/50, 2), 0 // each takes long
	before := swappedOut(t)
	for i := range tries {
		banned := [][]string{{word}, {part, other}}[i%2]
		if wipes(banned...) {
			lived++
		}
	}
	if n := swappedOut(t) - before; n < tries*pages {
		t.Errorf("%d pages were swapped out by %d programs, which shows nothing", n, tries)
	}
	t.Logf("trick: hanging pages: %d of %d lived", lived, tries)
	if undecided := a.Metrics(t)["execs_undecided_total"]; defers(t) && (lived > 0 || undecided > 0) {
		t.Errorf("%d lived, %v were left to user space", lived, undecided)
	}
}

// needSwap adds swap for the duration of the test if the machine has none.
func needSwap(t *testing.T) {
	t.Helper()
	text, err := os.ReadFile("/proc/swaps")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(text), "\n") > 1 {
		return
	}
	file := filepath.Join(t.TempDir(), "swap")
	run := func(command ...string) error {
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%v: %w: %s", command, err, out)
		}
		return nil
	}
	// Not with holes, which swap files must not have.
	err = errors.Join(os.WriteFile(file, make([]byte, 128<<20), 0o600), run("/sbin/mkswap", file))
	if err != nil {
		t.Fatal(err)
	}
	if err := run("/sbin/swapon", file); err != nil {
		t.Skip("this machine has no swap, and cannot get any: ", err)
	}
	t.Cleanup(func() {
		if err := run("/sbin/swapoff", file); err != nil {
			t.Error(err)
		}
	})
}

// swappedOut returns the number of pages swapped out since boot.
func swappedOut(t *testing.T) int { return valueIn(t, "/proc/vmstat", "pswpout") }

func oomKills(t *testing.T, cgroup string) int {
	t.Helper()
	file := filepath.Join(cgroup, "memory.events")
	if _, err := os.Stat(file); err != nil { // v1
		file = filepath.Join(cgroup, "memory.oom_control")
	}
	return valueIn(t, file, "oom_kill")
}

// valueIn returns the value in a file of lines "NAME VALUE".
func valueIn(t *testing.T, file, name string) (value int) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			if _, err := fmt.Sscan(rest, &value); err != nil {
				t.Fatal(err)
			}
			return value
		}
	}
	t.Fatalf("%s has no value %s", file, name)
	return 0
}
