package hashwork

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/cryptnono/cryptnono/internal/detector/hashwork/words"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// Ordinary programs compute beside the detector, eight kinds by turns: none is killed, and what
// comes closest to the rules is logged. With SOAK it is all kinds, again and again for half an hour, with
// the default rate, and the memory and the descriptors of this process do not become more. One is tried by
//
//	SOAK=1 go test -run 'TestProgramsAtWork//NAME' ./internal/detector/hashwork
func TestProgramsAtWork(t *testing.T) {
	testutil.Privileged(t)
	soak := os.Getenv("SOAK") != ""
	b := newBed(t, func(s *Settings) {
		if s.MemoryHard.Enabled = true; !soak {
			twiceAsSoon(s)
		}
	})
	if !soak {
		b.workAll(t, kindsOf(t, time.Now()), 4*time.Second)
		return
	}
	began := time.Now()
	early := make(chan footprint, 1)
	timer := time.AfterFunc(5*time.Minute, func() { early <- newFootprint(t) })
	defer timer.Stop()
	for b.workAll(t, kinds, 20*time.Second); time.Since(began) < 30*time.Minute && !t.Failed() && !isPart(); {
		b.workAll(t, kinds, 20*time.Second)
	}
	if timer.Stop() {
		return // a part of the kinds
	}
	was, is := <-early, newFootprint(t)
	t.Logf("after five minutes %v, at the end %v", was, is)
	if is.memory > was.memory+10<<20 || is.descriptors > was.descriptors+8 {
		t.Errorf("after five minutes %v, at the end %v", was, is)
	}
}

// isPart reports whether only some kinds were asked for.
func isPart() bool { return strings.Contains(flag.Lookup("test.run").Value.String(), "//") }

// A footprint is what this process uses.
type footprint struct{ memory, descriptors int } // in bytes; a few are those of kinds that start or end

func newFootprint(t *testing.T) footprint {
	debug.FreeOSMemory()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Error(err)
	}
	return footprint{resident(t), len(all)}
}

// workAll runs kinds, two at a time, and logs what came closest to the rules.
func (b *bed) workAll(t *testing.T, chosen []kind, limit time.Duration) {
	t.Helper()
	var mu sync.Mutex
	var all []closest
	t.Run("two at a time", func(t *testing.T) {
		two := make(chan bool, 2)
		for _, k := range chosen {
			t.Run(k.name, func(t *testing.T) {
				t.Parallel()
				two <- true
				defer func() { <-two }()
				c := b.work(t, k, limit)
				mu.Lock()
				defer mu.Unlock()
				all = append(all, c)
			})
		}
	})
	slices.SortFunc(all, func(a, b closest) int {
		return cmp.Or(-cmp.Compare(a.distance(), b.distance()), cmp.Compare(a.name, b.name))
	})
	t.Log("\n" + table(all))
}

// kindsOf returns the eight kinds of a day.
func kindsOf(t *testing.T, now time.Time) []kind {
	small := slices.DeleteFunc(slices.Clone(kinds), func(k kind) bool { return k.soak })
	day := now.Unix() / (24 * 60 * 60)
	var chosen []kind
	for i := range int64(8) {
		chosen = append(chosen, small[(8*day+i)%int64(len(small))])
	}
	t.Logf("the kinds of day %d", day)
	return chosen
}

// work runs a kind in a cgroup of its own until it has used an amount of CPU time.
func (b *bed) work(t *testing.T, k kind, limit time.Duration) closest {
	t.Helper()
	cgroup := testutil.MakeCgroup(t, fmt.Sprintf("/cryptnono-at-work-%d", time.Now().UnixNano()))
	var s syscall.Stat_t
	if err := syscall.Stat(cgroup, &s); err != nil {
		t.Fatal(err)
	}
	w := newWorkplace(t, k)
	var used time.Duration
	for end := time.Now().Add(testutil.Patience(10 * limit)); used < limit && time.Now().Before(end) && !t.Failed(); {
		if err := w.run(t, cgroup, func() bool {
			used = cpuTime(t, cgroup)
			return used >= limit || time.Now().After(end)
		}); err != nil {
			t.Error(err)
		}
	}
	c := b.closest(k.name, s.Ino)
	c.used = used
	for pid := range c.pids {
		for _, l := range b.lines(pid) {
			if l["action"] != "observed" || !k.observed {
				t.Errorf("a verdict: %v", l)
			}
		}
	}
	if len(c.pids) == 0 {
		t.Errorf("it used %v, but was not examined", used)
	}
	return c
}

// A workplace is where a kind works.
type workplace struct {
	kind
	argv []string
	out  string // file
}

func newWorkplace(t *testing.T, k kind) workplace {
	t.Helper()
	// In namespaces of their own, so that all its processes end with the first.
	argv := []string{"unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-ec"}
	dir, err := os.MkdirTemp("", "") //nolint:usetesting // other users work there too
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if k.packages == "" {
		argv = append(argv, `mount -t proc proc /proc; cd "$1"; exec sh -c "$2"`, "sh", dir)
	} else {
		root := testutil.Unpacked(t, append([]string{"dash", "coreutils"}, strings.Fields(k.packages)...)...)
		argv = append(argv, `mount -t proc proc "$1/proc"; mount --rbind /dev "$1/dev"; mount --bind "$3" "$1/tmp"; exec chroot "$1" /bin/sh -c "cd /tmp; $2"`, "sh", root)
	}
	return workplace{k, append(argv, prelude+k.script, dir), filepath.Join(t.TempDir(), "out")}
}

// run runs the script until it ends or enough returns true.
func (w workplace) run(t *testing.T, cgroup string, enough func() bool) error {
	t.Helper()
	out, err := os.Create(w.out)
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := exec.Command("nice", w.argv...)
	cmd.Stdout, cmd.Stderr = out, out
	in, err := os.Open(cgroup)
	if err != nil {
		return err
	}
	defer in.Close()
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(in.Fd()), Setpgid: true}
	testutil.Start(t, cmd)
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case err := <-ended:
			if err != nil {
				text, _ := os.ReadFile(w.out)
				return fmt.Errorf("%w: %s", err, text[max(0, len(text)-1000):])
			}
			return nil
		case <-time.After(100 * time.Millisecond):
			if enough() {
				_ = cmd.Process.Kill()
				<-ended //nolint:errcheck // it was killed
				return nil
			}
		}
	}
}

// cpuTime returns the CPU time that a cgroup has used.
func cpuTime(t *testing.T, cgroup string) time.Duration {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(cgroup, "cpu.stat"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "usage_usec ")
	line, _, _ := strings.Cut(rest, "\n")
	us, err := strconv.ParseInt(line, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(us) * time.Microsecond
}

// A closest has the highest values of all processes of a kind, in lines at level debug.
type closest struct {
	name                                              string
	used                                              time.Duration
	pids                                              map[int]bool
	samples                                           int // of a process
	counts                                            words.Counts
	masked, walks, aes, evenWalks, multiplies, argon2 float64
}

// An examined is the line of an examination.
type examined struct {
	Msg      string
	PID      int
	CgroupID uint64 `json:"cgroup_id"`
	Program  struct {
		Protocol  int `json:"protocol_words"`
		Algorithm int `json:"algorithm_words"`
		Constants int
	}
	Scratchpad struct {
		Samples                                int
		Masked, Walks, AES, Multiplies, Argon2 float64
		EvenWalks                              float64 `json:"even_walks"`
	}
}

// closest returns the values of the processes of a cgroup.
func (b *bed) closest(name string, cgroup uint64) closest {
	c := closest{name: name, pids: make(map[int]bool)}
	for text := range strings.Lines(b.log.String()) {
		var l examined
		if json.Unmarshal([]byte(text), &l) != nil || l.Msg != "examined a process" || l.CgroupID != cgroup {
			continue
		}
		c.pids[l.PID] = true
		c.samples = max(c.samples, l.Scratchpad.Samples)
		c.counts.Protocol = max(c.counts.Protocol, l.Program.Protocol)
		c.counts.Algorithm = max(c.counts.Algorithm, l.Program.Algorithm)
		c.counts.Constant = max(c.counts.Constant, l.Program.Constants)
		for _, x := range []struct {
			to *float64
			v  float64
		}{{&c.masked, l.Scratchpad.Masked}, {&c.walks, l.Scratchpad.Walks}, {&c.aes, l.Scratchpad.AES}, {&c.evenWalks, l.Scratchpad.EvenWalks}, {&c.multiplies, l.Scratchpad.Multiplies}, {&c.argon2, l.Scratchpad.Argon2}} {
			*x.to = max(*x.to, x.v)
		}
	}
	return c
}

// distance is the greatest share of a threshold that a kind has reached: 1 is a match of a rule.
func (c closest) distance() float64 {
	program := min(float64(c.counts.Protocol)/words.MinProtocol, max(float64(c.counts.Algorithm)/words.MinAlgorithm, float64(c.counts.Constant)/words.MinConstant))
	return max(program, c.walks/0.25, c.evenWalks/0.25, c.multiplies/0.6, c.argon2/0.25, c.masked, c.aes)
}

func table(all []closest) string {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 1, ' ', 0)
	fmt.Fprintln(w, "| kind\t| CPU s\t| processes\t| samples\t| protocols, algorithms, constants\t| masked\t| walks\t| AES\t| even walks\t| multiplies\t| argon2\t|")
	for _, c := range all {
		fmt.Fprintf(w, "| %s\t| %.1f\t| %d\t| %d\t| %d, %d, %d\t| %.3f\t| %.3f\t| %.3f\t| %.3f\t| %.3f\t| %.3f\t|\n", c.name, c.used.Seconds(), len(c.pids), c.samples,
			c.counts.Protocol, c.counts.Algorithm, c.counts.Constant, c.masked, c.walks, c.aes, c.evenWalks, c.multiplies, c.argon2)
	}
	_ = w.Flush()
	return text.String()
}
