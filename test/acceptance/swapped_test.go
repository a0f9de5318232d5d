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
	"syscall"
	"testing"

	"github.com/cryptnono/cryptnono/internal/testutil"
	"github.com/cryptnono/cryptnono/test/agenttest"
)

// If arguments exceed the memory limit of a cgroup, they are swapped out while the kernel still
// copies them. From Linux 6.18 on they are read before the first instruction. On older kernels
// user space reads them later; the test logs how many programs had overwritten them by then, in a
// line that test/kernels parses.
func TestArgumentsThatAreSwappedOut(t *testing.T) {
	testutil.Privileged(t)
	if !hasSwap(t) {
		t.Skip("this machine has no swap")
	}
	const limit, pages = 1 << 20, 50
	act := testutil.BuildC(t, "test/victims/act.c", "-static")
	word := agenttest.NewWord()
	a := start(t, agenttest.Rules{Strings: []string{word}})
	group := agenttest.MemoryLimit(t, "acceptance-swapped", limit)
	dir, err := os.Open(group)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	// The last argument is copied first and so swapped out first.
	long := slices.Repeat([]string{strings.Repeat("x ", 50_000)}, 15)
	banned := append(append([]string{act}, long...), word)
	legitimate := append(append([]string{act}, long...), "legitimate")
	wipes := func(args []string) bool {
		t.Helper()
		for range 20 {
			before := oomKills(t, group)
			lived, err := outlivesAs(t, "wipe", act, args, func(cmd *exec.Cmd) {
				cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(dir.Fd())
			})
			switch {
			case errors.Is(err, syscall.E2BIG), oomKills(t, group) > before: // too little memory
			case err != nil:
				t.Fatal(err)
			default:
				return lived
			}
		}
		t.Fatal("the exec fails with so little memory")
		return false
	}

	if !wipes(legitimate) {
		t.Error("a legitimate program was killed")
	}
	tries, lived := max(trickTries(t)/5, 1), 0 // each takes long
	before := swappedOut(t)
	for range tries {
		if wipes(banned) {
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

func hasSwap(t *testing.T) bool {
	t.Helper()
	text, err := os.ReadFile("/proc/swaps")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(text), "\n") > 1
}

// swappedOut returns the number of pages swapped out since boot.
func swappedOut(t *testing.T) int { return valueIn(t, "/proc/vmstat", "pswpout") }

func oomKills(t *testing.T, cgroup string) int {
	t.Helper()
	return valueIn(t, filepath.Join(cgroup, "memory.events"), "oom_kill")
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
