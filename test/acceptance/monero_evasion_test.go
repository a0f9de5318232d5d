package acceptance

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/testutil"
	"github.com/cryptnono/cryptnono/test/agenttest"
)

// preloaded starts a program that computes until it is killed, with a library in LD_PRELOAD.
func preloaded(t *testing.T, library, program string, args ...string) *crunching {
	t.Helper()
	return crunch(t, "/usr/bin/env", append([]string{"LD_PRELOAD=" + library, "FOLDER=" + t.TempDir(), program}, args...)...)
}

// Miners with a long memory map, memory in many mappings, or memory in a file.
func TestMinersAreFoundWhateverTheirMemoryMap(t *testing.T) {
	testutil.Privileged(t)
	miner := buildMiner(t)
	jit := testutil.BuildC(t, "test/victims/directed_jit.c")
	long := testutil.BuildC(t, "test/victims/preload/long_maps.c", "-shared", "-fPIC")
	split := testutil.BuildC(t, "test/victims/preload/split_memory.c", "-shared", "-fPIC")
	file := testutil.BuildC(t, "test/victims/preload/memory_in_file.c", "-shared", "-fPIC")
	a := startMonero(t, nil)

	for name, c := range map[string]struct {
		library, program, args string
		rule                   string // empty for any
	}{
		"long, RandomX compiled":             {long, miner, "1 light jit", ""},
		"long, RandomX interpreted":          {long, miner, "1 light interpreter", "monero pattern"},
		"long, one directed mode":            {long, jit, "anonymous", "monero jit"},
		"split, RandomX compiled":            {split, miner, "1 light jit", ""},
		"split, RandomX interpreted":         {split, miner, "1 light interpreter", "monero pattern"},
		"from a file, RandomX interpreted":   {file, miner, "1 light interpreter", "monero pattern"},
		"60,000 mappings, one directed mode": {long, jit, "anonymous /tmp 60000", "monero jit"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			program := copyFile(t, c.program, "python3")
			p := preloaded(t, c.library, program, strings.Fields(c.args)...)
			p.Path = program // by exec
			if l := p.isKilled(a); c.rule != "" && l.Rule != c.rule {
				t.Errorf("by the rule %q, want %q", l.Rule, c.rule)
			}
		})
	}
}

func TestJITCodeIsFoundHoweverItWasWritten(t *testing.T) {
	testutil.Privileged(t)
	jit := testutil.BuildC(t, "test/victims/directed_jit.c")
	a := startMonero(t, nil)
	for _, way := range []string{"twice", "memfd", "written", "reopen", "replace", "text", "mem", "unmapped /dev/shm"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			args := strings.Fields(way)
			if len(args) == 1 {
				args = append(args, t.TempDir())
			}
			if l := crunch(t, copyFile(t, jit, "python3"), args...).isKilled(a); l.Rule != "monero jit" {
				t.Errorf("by the rule %q", l.Rule)
			}
		})
	}
}

// Legitimate programs that write and execute code, or whose files change.
func TestLegitimateProgramsWithNewCodeLive(t *testing.T) {
	testutil.Privileged(t)
	modes := testutil.BuildC(t, "test/victims/honest_modes.c")
	jit := testutil.BuildC(t, "test/victims/directed_jit.c")
	a := startMonero(t, nil)

	library := crunch(t, jit, "library", t.TempDir())
	upgraded := copyFile(t, modes, "interval")
	old := crunch(t, upgraded, "u", "1000")
	honest := []*crunching{library, old}
	if python, err := exec.LookPath("python3"); err == nil {
		honest = append(honest, crunch(t, python, "-c", buildAndLoad, t.TempDir()))
	}
	if cc, err := exec.LookPath("cc"); err == nil {
		honest = append(honest, crunch(t, "/bin/sh", "-c", fmt.Sprintf(buildAndRun, cc, t.TempDir())))
	}
	for program, script := range map[string]string{
		"node": `for (let i = 0, s = 0; ; i++) s += Math.sqrt(i) * 1.1`,
		"perl": `my $s = 0; for (my $i = 0; ; $i++) { $s += sqrt($i) * 1.1 }`,
	} {
		if path, err := exec.LookPath(program); err == nil {
			honest = append(honest, crunch(t, path, "-e", script))
		}
	}

	// The running program is replaced twice, as by a package manager.
	for range 2 {
		time.Sleep(2 * time.Second)
		next := copyFile(t, modes, "next")
		if err := os.Rename(next, upgraded); err != nil {
			t.Fatal(err)
		}
	}
	if l := crunch(t, jit, "anonymous").isKilled(a); l.Rule != "monero jit" {
		t.Errorf("killed by the rule %q", l.Rule)
	}
	time.Sleep(15 * time.Second)
	for _, c := range honest {
		c.isAlive()
	}
	for _, l := range a.Lines(func(l agenttest.Line) bool { return l.Action == "killed" && l.Program != jit }) {
		t.Errorf("killed too: %s", l.Raw)
	}
}

// buildAndLoad builds libraries one after the other and rounds upwards in each.
const buildAndLoad = `
import ctypes, os, subprocess, sys, time
folder = sys.argv[1]
for n in range(10**6):
    source, library = os.path.join(folder, "x%d.c" % n), os.path.join(folder, "x%d.so" % n)
    with open(source, "w") as f:
        f.write("""#include <fenv.h>
double sum(long n) { double s = 0; fesetround(FE_UPWARD); for (long i = 0; i < n; i++) s += 0.1; fesetround(FE_TONEAREST); return s; }
""")
    subprocess.check_call(["cc", "-O1", "-frounding-math", "-shared", "-fPIC", "-o", library, source, "-lm"])
    f = ctypes.CDLL(library).sum
    f.restype, f.argtypes = ctypes.c_double, [ctypes.c_long]
    os.unlink(library)
    end = time.time() + 3
    while time.time() < end:
        f(10**7)
`

// buildAndRun builds programs one after the other, each of which rounds upwards and is removed
// while it runs.
const buildAndRun = `
cat > %[2]s/x.c <<'C'
#include <fenv.h>
#include <time.h>
int main(void) { volatile double s = 0; time_t end = time(0) + 2; fesetround(FE_UPWARD); while (time(0) < end) for (int i = 0; i < 1000000; i++) s += 0.1; return 0; }
C
while %[1]s -O1 -o %[2]s/x %[2]s/x.c -lm; do %[2]s/x & rm %[2]s/x; wait $!; done
`

// The agent once used memory in proportion to the memory map of each suspect.
func TestSuspectsDoNotIncreaseTheMemoryOfTheAgent(t *testing.T) {
	testutil.Privileged(t)
	jit := testutil.BuildC(t, "test/victims/directed_jit.c")
	miner := buildMiner(t)
	a := startMonero(t, nil)
	const suspects, most = 24, 100 // MiB
	var honest []*crunching
	folder := t.TempDir()
	for range suspects {
		honest = append(honest, crunch(t, "/usr/bin/nice", "-n", "19", jit, "library", folder, "60000", "1"))
	}
	agenttest.Eventually(t, "suspects", func() bool { return a.Metrics(t)["cryptnono_monero_suspects"] >= suspects })
	crunch(t, miner, "1", "light", "jit").isKilled(a)
	if n := a.MemoryMiB(); n > most {
		t.Errorf("the agent takes %d MiB", n)
	} else {
		t.Logf("the agent takes %d MiB", n)
	}
	for _, c := range honest {
		c.isAlive()
	}
}

// Their command lines cannot be read, which must not delay the verdict on another miner.
func TestMinersThatHoldTheirMmapLockAreKilled(t *testing.T) {
	testutil.Privileged(t)
	hanging := testutil.BuildC(t, "test/victims/hang_directed.c")
	miner := buildMiner(t)
	a := startMonero(t, nil)
	var all []*crunching
	for range 9 {
		all = append(all, crunch(t, hanging))
	}
	began := time.Now()
	crunch(t, miner, "1", "light", "jit").isKilled(a)
	t.Logf("the miner beside them was found after %v", time.Since(began))
	for _, c := range all {
		a.Verdict(t, "killed", c.Process.Pid)
	}
	t.Logf("all were found after %v", time.Since(began))
}
