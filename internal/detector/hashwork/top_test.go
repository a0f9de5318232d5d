package hashwork

import (
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/detector/detectortest"
	"github.com/cryptnono/cryptnono/internal/fair"
	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

func topPolicy() detector.Policy {
	return detector.Policy{Settings: Defaults(), Matcher: new(match.Matcher)}
}

// frames runs the view, and returns what it prints as JSON, one object a line.
func frames(t *testing.T, n int) (all []frame) {
	t.Helper()
	var out testutil.Buffer
	s := detector.Screen{Env: detectortest.Env(t, detectortest.Options{}), Out: &out}
	if err := runTop(t.Context(), s, topPolicy(), topOptions{interval: testutil.Patience(2 * time.Second), count: n, json: true}); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		var f frame
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		all = append(all, f)
	}
	if len(all) != n {
		t.Fatalf("%d frames, not %d", len(all), n)
	}
	return all
}

func (f frame) row(pid int) *row {
	if i := slices.IndexFunc(f.Processes, func(r *row) bool { return r.PID == pid }); i >= 0 {
		return f.Processes[i]
	}
	return &row{}
}

func TestTopShowsWhatComputes(t *testing.T) {
	testutil.Privileged(t)
	program := testutil.BuildC(t, victim)
	open := copyOf(t, program, openDir(t))
	deleted := testutil.Start(t, exec.Command(open))
	if err := os.Remove(open); err != nil {
		t.Fatal(err)
	}
	inMemory := testutil.Start(t, exec.Command(testutil.BuildC(t, "test/victims/execveat_memfd.c"), program, "worker"))
	python := testutil.Start(t, exec.Command(needed(t, "python3"), "-c", `
import socket, os
l = socket.create_server(("127.0.0.1", 0)); c = socket.create_connection(l.getsockname()); a = l.accept()
while 1:
    c.send(b"x"); os.write(1, b"x" * 1000)`))
	last := frames(t, 2)[1]

	r := last.row(deleted.Process.Pid)
	if r.Hottest == nil || !r.Hottest.Deleted || r.Hottest.Memfd || !r.Hottest.Writable || r.Hottest.Share < 0.9 || !strings.HasPrefix(r.Hottest.File, filepath.Dir(open)) {
		t.Errorf("the deleted program: %+v, %s", r.Hottest, r.Error)
	}
	if r.Words == nil || r.Words.Protocol != 5 || r.Words.Algorithm != 3 || r.Words.Constant != 0 || !r.Words.Miner() {
		t.Errorf("its words: %+v, %s", r.Words, r.Error)
	}
	if r.CPUPercent < 5 || r.CPUPercent > 110 || r.CPUSeconds <= 0 || r.Threads != 1 || r.UID != 0 || r.Comm == "" || r.Cgroup == "" {
		t.Errorf("the deleted program: %+v", r)
	}
	if r.Anonymous == nil || *r.Anonymous != 0 || r.Moved == nil || r.Moved.Connections != 0 || r.Moved.ReadNow == nil || *r.Moved.ReadNow != 0 {
		t.Errorf("it moves %+v", r.Moved)
	}
	if r := last.row(inMemory.Process.Pid); r.Hottest == nil || !r.Hottest.Memfd || r.Hottest.Deleted || *r.Anonymous < 0.9 || r.Words == nil || !r.Words.Miner() {
		t.Errorf("the program in memory: %+v, %+v, %s", r, r.Hottest, r.Error)
	}
	if r := last.row(python.Process.Pid); r.Hottest == nil || r.Hottest.Deleted || r.Hottest.Writable || r.Words == nil || r.Words.Miner() ||
		r.Moved.Connections != 2 || r.Moved.WrittenNow == nil || *r.Moved.WrittenNow < 1000 {
		t.Errorf("python: %+v, %+v, %s", r, r.Moved, r.Error)
	}
	var sum float64
	for _, c := range last.Containers {
		sum += c.CPUPercent
	}
	if len(last.Containers) == 0 || last.Seconds < 0.9 || sum > 110*float64(runtime.NumCPU()) {
		t.Errorf("%v %% in %v s", sum, last.Seconds)
	}
}

// openDir returns a directory to which all may write.
func openDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestTopIsBoundedWithManyProcesses(t *testing.T) {
	testutil.Privileged(t)
	flood := exec.Command("nice", "-n", "19", "sh", "-c", "i=0; while [ $i -lt 500 ]; do (while :; do :; done) & i=$((i+1)); done; wait")
	flood.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	testutil.Start(t, flood)
	defer func() { _ = unix.Kill(-flood.Process.Pid, unix.SIGKILL) }()
	time.Sleep(2 * time.Second)
	f := frames(t, 3)[2]
	if len(f.Processes) != maxRows || f.Others == 0 {
		t.Errorf("%d rows, %d others", len(f.Processes), f.Others)
	}
	if f.Seconds > testutil.Patience(10*time.Second).Seconds() {
		t.Errorf("an interval of %v s", f.Seconds)
	}
}

func TestAFloodOfProcessesHidesNoCgroup(t *testing.T) {
	var all []*program
	c := cut{samples: make(map[process.Execution]int), cgroups: make(map[uint64]int)}
	add := func(pid, samples int, cgroup uint64) *program {
		p := &program{key: process.Execution{PID: pid}, count: count{owner: fair.Owner{Cgroup: cgroup}}}
		all = append(all, p)
		c.samples[p.key], c.cgroups[cgroup] = samples, c.cgroups[cgroup]+samples
		return p
	}
	alone := add(1, 2, 7)
	for pid := range 500 {
		add(2+pid, 3, 8)
	}
	if got := choose(slices.Clone(all), c); len(got) != maxRows || !slices.Contains(got, alone) {
		t.Errorf("%d programs, without the one alone", len(got))
	}
	hot := add(1000, 100, 8)
	second := add(1001, 50, 8)
	for n := range 500 {
		add(2000+n, 1, uint64(100+n))
	}
	got := choose(slices.Clone(all), c)
	if len(got) != maxRows || !slices.Contains(got, hot) || !slices.Contains(got, second) || !slices.Contains(got, alone) {
		t.Errorf("many cgroups hide what computes most: %d programs", len(got))
	}
	for i, p := range got {
		if slices.Contains(got[:i], p) {
			t.Fatalf("process %d is there twice", p.key.PID)
		}
	}
}

func TestTopWithNothingBusy(t *testing.T) {
	top := &top{policy: &policy{topPolicy(), Defaults()}}
	f := top.fill(t.Context(), cut{took: time.Second}, time.Second)
	text, err := json.Marshal(f)
	if err != nil || !strings.Contains(string(text), `"containers":[],"processes":[],"others":0`) {
		t.Errorf("got %s, %v", text, err)
	}
	if got := f.table(0, 0); got != "00:00:00Z  1.0 s: 0 processes computed\n" {
		t.Errorf("got %q", got)
	}
}

func TestWhatStrangersNameIsEscaped(t *testing.T) {
	testutil.Privileged(t)
	const evil = "e\x1b[2J\n\u202e\x07\x9b1\xff\t|"
	dir := filepath.Join(t.TempDir(), evil)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(testutil.BuildC(t, victim))
	program := filepath.Join(dir, evil)
	if err == nil {
		err = os.WriteFile(program, text, 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := testutil.StartIn(t, testutil.MakeCgroup(t, "/cryptnono-\x1b[31m\u202e"), exec.Command(program))
	f := frames(t, 1)[0]
	r := f.row(cmd.Process.Pid)
	if r.Comm == "" || !strings.Contains(r.Comm, `\x1b[2J`) || !strings.Contains(r.Cgroup, `\x1b[31m\u202e`) {
		t.Errorf("%+v", r)
	}
	r.in = &totals{}
	table := frame{Processes: []*row{r}}.table(0, 0)
	if strings.Count(table, "\n") != 3 {
		t.Errorf("lines of %q", table)
	}
	for _, c := range table {
		if c != '\n' && !unicode.IsPrint(c) {
			t.Errorf("%q in %q", c, table)
		}
	}
}

// A process whose memory cannot be read delays the frame no longer than the limit.
func TestAProcessThatHangsDoesNotDelayTop(t *testing.T) {
	testutil.Privileged(t)
	cmd := testutil.Start(t, exec.Command(testutil.BuildC(t, "test/victims/hang_cmdline.c")))
	other := testutil.Sleeper(t)
	e := detectortest.Env(t, detectortest.Options{})
	top, err := newTop(detector.Screen{Env: e}, topPolicy())
	if err != nil {
		t.Fatal(err)
	}
	defer top.d.close()
	jobOf := func(pid int, uid uint32) job {
		who, err := process.Identify(pid)
		if err != nil {
			t.Fatal(err)
		}
		// New kernels list mappings without the lock of the memory, so the code is on the stack.
		now, err := process.Current(pid)
		if err != nil {
			t.Fatal(err)
		}
		x := sample{owner: fair.Owner{UID: uid, Cgroup: uint64(uid)}, program: process.Execution{PID: pid, Start: who.Start}, instruction: now.Stack}
		all := newTracker(math.MaxInt)
		for range 100 {
			all.add(x)
		}
		for _, p := range all.programs.All() {
			j := all.job(p, all.groupOf(p), false)
			j.policy = top.policy
			return j
		}
		return job{}
	}
	testutil.Eventually(t, "a process that hangs, and all of the other one", func() bool {
		c := cut{took: time.Second, jobs: []job{jobOf(cmd.Process.Pid, 1), jobOf(other.Process.Pid, 2)}}
		began := time.Now()
		f := top.fill(t.Context(), c, time.Second)
		if took := time.Since(began); took > testutil.Patience(1500*time.Millisecond) {
			t.Fatalf("it took %v", took)
		}
		r := f.row(other.Process.Pid) // on a busy machine, not in each frame
		return f.row(cmd.Process.Pid).Error != "" && r.Moved != nil && r.Error == ""
	})
}

func TestTheFlagsOfTopAreChecked(t *testing.T) {
	for _, c := range []struct {
		args  string
		valid bool
	}{
		{"-interval 1s -count 3 -json", true}, {"-interval 0.5s", false}, {"-interval 2h", false}, {"-interval 5", false},
		{"-count 0", false}, {"-count x", false},
	} {
		flags := newFlags()
		topView().New(flags)
		if err := flags.Parse(strings.Fields(c.args)); (err == nil) != c.valid {
			t.Errorf("%s: %v", c.args, err)
		}
	}
}
