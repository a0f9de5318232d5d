package hashwork

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

// mine returns the command of Debian's xmrig under another name, with a configuration file only.
func mine(t *testing.T, program, algorithm, pool string) *exec.Cmd {
	t.Helper()
	root := testutil.Xmrig(t)
	dir, inside := testutil.UnpackedDir(t, root)
	text, err := json.Marshal(map[string]any{
		"autosave": false, "donate-level": 1, "randomx": map[string]any{"mode": "light", "init": 1},
		"pools": []any{map[string]any{"url": pool, "user": algorithm, "algo": algorithm}},
		"cpu":   map[string]any{"enabled": true, "huge-pages": false, algorithm: []int{-1, -1}}, // two threads on any CPU
	})
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "settings.json"), text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(root, "usr/bin/xmrig"))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, program), b, 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	return exec.Command("chroot", root, filepath.Join(inside, program), "-c", filepath.Join(inside, "settings.json"))
}

func median(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2]
}

// startAll starts xmrig with each algorithm, at once.
func startAll(t *testing.T, algorithms ...string) map[string]*exec.Cmd {
	t.Helper()
	pool, all := testutil.Pool(t), make(map[string]*exec.Cmd)
	for _, algorithm := range algorithms {
		all[algorithm] = startApart(t, mine(t, "kernel-worker", algorithm, pool))
	}
	return all
}

func TestXmrigDies(t *testing.T) {
	b := newBed(t, nil)
	var times []time.Duration
	for algorithm, cmd := range startAll(t, "cn/r", "cn/0", "cn/1", "cn/half", "cn-heavy/0", "cn-pico", "ghostrider", "argon2/chukwa") {
		used := b.dies(cmd, programRule)
		t.Logf("%s: %v", algorithm, used)
		times = append(times, used)
	}
	m := median(times)
	t.Logf("the median of the CPU time is %v", m)
	if m > 4*time.Second {
		t.Errorf("the median of the CPU time is %v", m)
	}
}

// The same without the words in its file.
func TestXmrigDiesByItsScratchpad(t *testing.T) {
	b := newBed(t, func(s *Settings) { onlyScratchpad(s); twiceAsSoon(s) })
	var times []time.Duration
	for algorithm, cmd := range startAll(t, "cn/r", "cn/0", "cn/1", "cn/2", "cn/half", "cn-lite/1", "cn-heavy/xhv", "cn-pico", "ghostrider") {
		limit := 4 * time.Second // 8 s by default
		if algorithm == "ghostrider" {
			limit = 15 * time.Second // it begins with other algorithms
		}
		used := b.dies(cmd, scratchpadRule)
		t.Logf("%s: %v", algorithm, used)
		times = append(times, used)
		if used > limit {
			t.Errorf("%s computed for %v", algorithm, used)
		}
	}
	t.Logf("the median of the CPU time is %v", median(times))
}

// Argon2 is only likely without the words.
func TestXmrigIsObservedByItsMultiplications(t *testing.T) {
	b := newBed(t, likely(true))
	cmd := testutil.Start(t, mine(t, "kernel-worker", "argon2/chukwa", testutil.Pool(t)))
	var lines []map[string]any
	testutil.Eventually(t, "the line", func() bool { lines = b.lines(cmd.Process.Pid); return len(lines) > 0 })
	t.Log(lines)
	if l := lines[0]; l["action"] != "observed" || l["rule"] != Name+" "+memoryHardRule.String() {
		t.Errorf("the line is %v", l)
	}
}

// Packed, in a memfd, and started by the dynamic linker.
func TestXmrigDiesHoweverItIsStarted(t *testing.T) {
	root, pool := testutil.Xmrig(t), testutil.Pool(t)
	for name, change := range map[string]func(t *testing.T, cmd *exec.Cmd){
		"packed": func(t *testing.T, cmd *exec.Cmd) {
			if out, err := exec.Command("chroot", root, "/usr/bin/upx-ucl", "-q", "-1", cmd.Args[2]).CombinedOutput(); err != nil {
				t.Fatalf("packing: %v\n%s", err, out)
			}
		},
		"by the dynamic linker": func(_ *testing.T, cmd *exec.Cmd) {
			cmd.Args = slices.Insert(cmd.Args, 2, "/lib64/ld-linux-x86-64.so.2")
		},
		"in a memfd": func(t *testing.T, cmd *exec.Cmd) {
			const script = `
import os, sys
fd = os.memfd_create("")
os.write(fd, open(sys.argv[1] + sys.argv[2], "rb").read())
os.chroot(sys.argv[1])
os.execve(fd, ["worker"] + sys.argv[3:], {})`
			cmd.Path = needed(t, "python3")
			cmd.Args = append([]string{"python3", "-c", script}, cmd.Args[1:]...)
		},
	} {
		t.Run(name, func(t *testing.T) {
			b, cmd := newBed(t, soon), mine(t, "kernel-worker", "cn/r", pool)
			change(t, cmd)
			used := b.dies(testutil.Start(t, cmd), programRule)
			t.Logf("%v", used)
		})
	}
}
