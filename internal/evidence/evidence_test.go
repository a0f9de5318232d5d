package evidence_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/detector/detectortest"
	"github.com/cryptnono/cryptnono/internal/evidence"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/procread"
	"github.com/cryptnono/cryptnono/internal/report"
	"github.com/cryptnono/cryptnono/internal/testutil"
	"github.com/cryptnono/cryptnono/internal/verdict"
)

func TestMain(m *testing.M) {
	procread.ServeIfChild()
	os.Exit(testutil.RunWithoutLeaks(m))
}

// A bed is what detectors share, with evidence and the log.
type bed struct {
	detector.Env
	t     *testing.T
	log   testutil.Buffer
	tally verdict.Tally
	took  time.Duration // for the last kill
}

func newBed(t *testing.T, change func(*evidence.Settings)) *bed {
	t.Helper()
	testutil.Privileged(t)
	b := &bed{t: t}
	b.Env = detectortest.Env(t, detectortest.Options{Log: slog.New(slog.NewJSONHandler(&b.log, nil))})
	s := evidence.Default()
	if change != nil {
		change(&s)
	}
	b.Judge.Evidence = evidence.New(b.Judge.Reader, b.Inventory, s)
	b.Judge.Evidence.WaitLonger(testutil.Patience(2 * time.Second))
	return b
}

// locate returns a process after its exec.
func (b *bed) locate(cmd *exec.Cmd) process.Event {
	b.t.Helper()
	own, err := b.Inventory.Locate(os.Getpid())
	if err != nil {
		b.t.Fatal(err)
	}
	var at process.Event
	testutil.Eventually(b.t, "the exec", func() bool {
		at, err = b.Inventory.Locate(cmd.Process.Pid)
		return err == nil && at.File != own.File
	})
	return at
}

// kill kills a process as a detector does that decides in user space, and returns its line.
func (b *bed) kill(cmd *exec.Cmd) line {
	b.t.Helper()
	at := b.locate(cmd)
	h, err := at.Open()
	if err != nil {
		b.t.Fatal(err)
	}
	defer h.Close()
	s := verdict.Suspect{Event: at, Handle: h, Programs: []string{""}, Line: report.Verdict{Detector: "test"}}
	began := time.Now()
	if did, err := b.Judge.Decide(b.t.Context(), s, &b.tally); err != nil || did != verdict.Killed {
		b.t.Fatalf("%v, %v", did, err)
	}
	b.took = time.Since(began)
	if testutil.DiedOf(cmd) != syscall.SIGKILL {
		b.t.Error("it lives")
	}
	return b.line(at.PID)
}

// report logs the kill of a process by the kernel, which has killed it.
func (b *bed) report(cmd *exec.Cmd, path string, ancestors ...evidence.Ancestor) line {
	b.t.Helper()
	at := b.locate(cmd)
	testutil.End(cmd)
	e := verdict.Event{
		Event: at, Outcome: verdict.OutcomeBanned, Killed: true,
		Ancestors: ancestors, Directory: evidence.Directory{Path: "/a\n", Cut: true},
	}
	e.FileDeleted, e.HostRoot = false, false // as in the events of kernel programs
	b.Judge.ReportKernel(e, path, report.Verdict{Detector: "test"})
	return b.line(at.PID)
}

// A line is that of a verdict, or of evidence about a container.
type line struct {
	PID        int
	Action     string
	Executable *struct {
		SHA256, Device, Absent string
		Size                   int64
		Inode                  uint64
		Deleted, Memfd         bool
		Writable               bool `json:"writable_place"`
	}
	Cwd       string
	Ancestors []struct {
		PID     int
		UID     uint32
		Program string
		Ended   bool
	}
	Started     time.Time `json:"started_at"`
	Decided     time.Time `json:"decided_at"`
	Ended       time.Time `json:"ended_at"`
	OfPID       int       `json:"of_pid"`
	Processes   []struct{ Program, Cmdline string }
	Total       int `json:"processes_total"`
	Connections []struct{ Local, Remote, State string }
	HostNetwork bool `json:"host_network"`
	keys        map[string]any
	bytes       int
}

// find returns the first line that matches, nil if there is none.
func (b *bed) find(match func(*line) bool) *line {
	for text := range strings.Lines(b.log.String()) {
		l := line{bytes: len(text)}
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			b.t.Fatalf("%s: %v", text, err)
		}
		_ = json.Unmarshal([]byte(text), &l.keys)
		if match(&l) {
			return &l
		}
	}
	return nil
}

func (b *bed) line(pid int) line {
	b.t.Helper()
	var l *line
	testutil.Eventually(b.t, "the line", func() bool {
		l = b.find(func(l *line) bool { return l.PID == pid && l.Action != "" })
		return l != nil
	})
	return *l
}

// about waits for the line about the container of a process.
func (b *bed) about(pid int) line {
	b.t.Helper()
	var l *line
	testutil.Eventually(b.t, "the evidence", func() bool {
		l = b.find(func(l *line) bool { return l.OfPID == pid })
		return l != nil
	})
	return *l
}

// program copies the program idle, which needs no library, to a file and returns its hash.
func program(t *testing.T, path string) (sum string) {
	t.Helper()
	text, err := os.ReadFile(testutil.BuildC(t, "test/victims/idle.c", "-static"))
	if err == nil {
		err = os.WriteFile(path, text, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	hash := sha256.Sum256(text)
	return hex.EncodeToString(hash[:])
}

func TestAKillBeforeWhichTheProgramWasOpened(t *testing.T) {
	b, dir := newBed(t, nil), t.TempDir()
	sum := program(t, filepath.Join(dir, "program"))
	start := func(path string) *exec.Cmd {
		cmd := exec.Command(path)
		cmd.Dir = dir
		return testutil.Start(t, cmd)
	}
	kept := b.kill(start(filepath.Join(dir, "program")))
	if e := kept.Executable; e == nil || e.SHA256 != sum || e.Deleted || e.Memfd || e.Absent != "" || e.Inode == 0 || e.Device == "" || e.Size == 0 {
		t.Errorf("a file: got %+v", e)
	}
	if kept.Cwd != dir || len(kept.Ancestors) == 0 || kept.Ancestors[0].PID != os.Getpid() {
		t.Errorf("got %q and %v", kept.Cwd, kept.Ancestors)
	}
	if now := time.Now(); kept.Started.After(kept.Decided) || kept.Decided.After(kept.Ended) || kept.Ended.After(now) || now.Sub(kept.Started) > time.Minute {
		t.Errorf("started %v, decided %v, ended %v", kept.Started, kept.Decided, kept.Ended)
	}
	program(t, filepath.Join(dir, "removed"))
	cmd := start(filepath.Join(dir, "removed"))
	b.locate(cmd)
	if err := os.Remove(cmd.Path); err != nil {
		t.Fatal(err)
	}
	if e := b.kill(cmd).Executable; e == nil || e.SHA256 != sum || !e.Deleted || e.Memfd {
		t.Errorf("a removed file: got %+v", e)
	}
	memfd := exec.Command(testutil.BuildC(t, "test/victims/execveat_memfd.c"), filepath.Join(dir, "program"), "idle")
	at := testutil.Start(t, memfd)
	testutil.Eventually(t, "the exec", func() bool {
		exe, _ := os.Readlink(process.Dir(at.Process.Pid) + "/exe")
		return strings.HasPrefix(exe, "/memfd:")
	})
	if e := b.kill(at).Executable; e == nil || e.SHA256 != sum || e.Deleted || !e.Memfd || e.Writable {
		t.Errorf("a memfd: got %+v", e)
	}
	program(t, filepath.Join(dir, "large"))
	if err := os.Truncate(filepath.Join(dir, "large"), procread.MaxHashed+1); err != nil {
		t.Fatal(err)
	}
	if e := b.kill(start(filepath.Join(dir, "large"))).Executable; e == nil || e.SHA256 != "" || e.Size != procread.MaxHashed+1 || e.Absent != procread.AbsentLarge {
		t.Errorf("a large file: got %+v", e)
	}
}

func TestAKillByTheKernel(t *testing.T) {
	b, dir := newBed(t, nil), t.TempDir()
	path := filepath.Join(dir, "program")
	sum := program(t, path)
	program(t, filepath.Join(dir, "other"))
	start := func() *exec.Cmd { return testutil.Start(t, exec.Command(path)) }
	l := b.report(start(), path)
	if e := l.Executable; e == nil || e.SHA256 != sum || e.Absent != "" || l.Ended.IsZero() || len(l.Ancestors) == 0 || l.Cwd != `…/a\x0a` {
		t.Errorf("got %+v of %+v", e, l)
	}
	for wrong, why := range map[string]string{
		filepath.Join(dir, "other"): procread.AbsentOther, "": procread.AbsentNotKnown, "/none": procread.AbsentNoPath,
	} {
		if e := b.report(start(), wrong).Executable; e == nil || e.SHA256 != "" || e.Absent != why || e.Inode == 0 {
			t.Errorf("%q: got %+v", wrong, e)
		}
	}
}

// container is the path of the cgroup of a pod's container.
func container(digit string) string {
	return "/kubepods/besteffort/pod8f3c1a52-7d16-4f0c-9f3b-0a1b2c3d4e5f/" + strings.Repeat(digit, 64)
}

// A file is sought in the file system of the container, which is an overlay.
func TestAKillByTheKernelInAContainer(t *testing.T) {
	b := newBed(t, nil)
	cgroup := testutil.MakeCgroup(t, container("a"))
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	for _, name := range []string{"lower/bin", "upper", "work", "root"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	sum := program(t, filepath.Join(dir, "lower/bin/idle"))
	root := filepath.Join(dir, "root")
	options := fmt.Sprintf("lowerdir=%[1]s/lower,upperdir=%[1]s/upper,workdir=%[1]s/work", dir)
	if err := unix.Mount("overlay", root, "overlay", 0, options); err != nil {
		t.Skip("no overlayfs: ", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(root, unix.MNT_DETACH) })
	start := func() *exec.Cmd {
		f, err := os.Open(cgroup)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		cmd := exec.Command("/bin/idle", "--password", "secret")
		cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(f.Fd()), Chroot: root, Cloneflags: unix.CLONE_NEWNET}
		return testutil.Start(t, cmd)
	}
	first := start() // of the container
	b.locate(first)
	l := b.report(start(), "/bin/idle")
	if e := l.Executable; e == nil || e.SHA256 != sum || e.Writable {
		t.Errorf("got %+v", e)
	}
	if len(l.Ancestors) != 0 {
		t.Errorf("ancestors outside of the container: %v", l.Ancestors)
	}
	about := b.about(l.PID)
	if about.Total != 1 || len(about.Processes) != 1 || !strings.HasSuffix(about.Processes[0].Program, "/bin/idle") || about.Processes[0].Cmdline != "/bin/idle --password ***" {
		t.Errorf("got %+v", about)
	}
	if about.Connections == nil || about.HostNetwork {
		t.Errorf("got the connections %v", about.Connections)
	}
	b.report(start(), "/bin/idle")
	if n := strings.Count(b.log.String(), `"msg":"evidence"`); n != 1 {
		t.Errorf("%d lines about the container in a minute", n)
	}
	testutil.End(first)
	alone := b.report(start(), "/bin/idle")
	if e := alone.Executable; e == nil || e.SHA256 != "" || e.Absent != procread.AbsentEnded {
		t.Errorf("without another process: got %+v", e)
	}
}

// What one container has shown as a file is not taken for a file of another.
func TestAHashIsKeptForEachContainer(t *testing.T) {
	b := newBed(t, nil)
	path := filepath.Join(t.TempDir(), "idle")
	sum := program(t, path)
	kill := func(digit string) string {
		t.Helper()
		f, err := os.Open(testutil.MakeCgroup(t, container(digit)))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		cmd := exec.Command(path)
		cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(f.Fd())}
		l := b.kill(testutil.Start(t, cmd))
		if l.Executable == nil {
			t.Fatal("the line has no executable")
		}
		return l.Executable.SHA256
	}
	if got := kill("d"); got != sum {
		t.Fatalf("got %s, want %s", got, sum)
	}
	if b.Judge.Evidence.Falsify() == 0 {
		t.Skip("on this file system, no hash is kept")
	}
	if got := kill("d"); got == sum {
		t.Error("the hash is not kept")
	}
	if got := kill("e"); got != sum {
		t.Errorf("in another container: got %s, want %s", got, sum)
	}
}

func TestAContainerWithManyProcesses(t *testing.T) {
	b := newBed(t, nil)
	cgroup := testutil.MakeCgroup(t, container("b"))
	const many = 2000
	path := filepath.Join(t.TempDir(), "idle")
	program(t, path)
	f, err := os.Open(cgroup)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd := exec.Command(testutil.BuildC(t, "test/victims/start_many.c"), strconv.Itoa(many), path)
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(f.Fd()), Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	testutil.Start(t, cmd)
	t.Cleanup(func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	if _, err := io.ReadFull(out, make([]byte, len("ready\n"))); err != nil {
		t.Fatal(err)
	}
	l := b.kill(testutil.SleepIn(t, cgroup))
	about := b.about(l.PID)
	if about.Total < many || len(about.Processes) != 32 || !about.HostNetwork || about.bytes > 64<<10 {
		t.Errorf("%d processes of %d in %d bytes", len(about.Processes), about.Total, about.bytes)
	}
}

// Ten files of an owner are read in a minute.
func TestManyVerdictsAreBounded(t *testing.T) {
	b := newBed(t, nil)
	read := 0
	for range 14 {
		if e := b.kill(testutil.Sleeper(t)).Executable; e != nil && e.SHA256 != "" {
			read++
		} else if e == nil || e.Absent != procread.AbsentTooMany {
			t.Errorf("got %+v", e)
		}
	}
	if read != 10 {
		t.Errorf("%d files were read", read)
	}
}

func TestEvidenceCanBeSwitchedOff(t *testing.T) {
	b := newBed(t, func(s *evidence.Settings) { *s = evidence.Settings{Interval: time.Minute} })
	l := b.kill(testutil.SleepIn(t, testutil.MakeCgroup(t, container("c"))))
	for _, key := range []string{"executable", "cwd", "ancestors", "started_at", "decided_at", "ended_at"} {
		if l.keys[key] != nil {
			t.Errorf("got %s: %v", key, l.keys[key])
		}
	}
	if l = b.report(testutil.Sleeper(t), ""); l.keys["cwd"] != nil {
		t.Errorf("got %v", l.keys)
	}
	all := evidence.Default()
	all.Executable = false
	b.Judge.Evidence.Apply(all)
	l = b.kill(testutil.Sleeper(t))
	if l.keys["executable"] != nil || l.Ended.IsZero() || l.Cwd == "" {
		t.Errorf("got %v", l.keys)
	}
	b.Judge.Evidence.Apply(evidence.Settings{WorkingDirectory: true, Interval: time.Minute})
	l = b.kill(testutil.Sleeper(t))
	if l.keys["executable"] != nil || l.keys["ended_at"] != nil || l.Cwd == "" {
		t.Errorf("only the working directory is wanted: got %v", l.keys)
	}
	if strings.Contains(b.log.String(), `"msg":"evidence"`) {
		t.Error("there is a line about the container")
	}
}

// A program on a file system that does not answer delays its kill by 20 ms.
func TestAProgramThatHangs(t *testing.T) {
	b, dir := newBed(t, nil), t.TempDir()
	b.Judge.Evidence.WaitLonger(20 * time.Millisecond)
	daemon := exec.Command(testutil.BuildC(t, "test/victims/fuse_program.c"), dir, "/bin/sleep")
	out, err := daemon.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	testutil.Start(t, daemon)
	if _, err := io.ReadFull(out, make([]byte, len("mounted\n"))); err != nil {
		t.Fatal(err)
	}
	b.kill(testutil.Sleeper(t)) // so that a child process of the reader runs
	l := b.kill(testutil.Start(t, exec.Command(filepath.Join(dir, "program"), "600")))
	if e := l.Executable; e == nil || e.SHA256 != "" || e.Absent != procread.AbsentStuck || e.Inode == 0 {
		t.Errorf("got %+v", e)
	}
	if b.took > testutil.Patience(200*time.Millisecond) {
		t.Errorf("the kill took %v", b.took)
	}
	testutil.End(daemon)
}

func TestAncestorsThatHaveEndedAreThoseOfTheContainer(t *testing.T) {
	b := newBed(t, nil)
	dir := testutil.MakeCgroup(t, "/docker/"+strings.Repeat("8d", 32))
	first := testutil.SleepIn(t, dir)
	victim := testutil.SleepIn(t, dir)
	at := b.locate(first).Cgroup
	level := at.Container.Level
	if !at.Container.Contained() || level < 1 {
		t.Fatalf("%+v", at)
	}
	program, err := os.Readlink(process.Dir(first.Process.Pid) + "/exe")
	if err != nil {
		t.Fatal(err)
	}
	const gone = 1 << 22 // above all numbers
	inside, outside := at.Levels[level].ID, at.Levels[level-1].ID
	l := b.report(victim, "",
		evidence.Ancestor{PID: gone + 1, Start: b.locate(first).Start, UID: 7, Cgroup: inside, Program: "sh\n"},
		evidence.Ancestor{PID: first.Process.Pid, Start: b.locate(first).Start, UID: 1000, Cgroup: inside, Program: "s"},
		evidence.Ancestor{PID: first.Process.Pid, Start: b.locate(first).Start, UID: 1001, Cgroup: inside, Program: filepath.Base(program)},
		evidence.Ancestor{PID: first.Process.Pid, Start: time.Second, Cgroup: inside, Program: "before"}, // its number was used again
		evidence.Ancestor{PID: gone + 2, Start: time.Second, Cgroup: outside, Program: "shim"},
		evidence.Ancestor{PID: gone + 3, Start: time.Second, Cgroup: inside, Program: "farther"})
	var got []string
	for _, a := range l.Ancestors {
		got = append(got, fmt.Sprint(a.PID, a.UID, a.Program, a.Ended))
	}
	want := []string{
		fmt.Sprint(gone+1, 7, `sh\x0a`, true),
		fmt.Sprint(first.Process.Pid, 1000, "s", false), // as it was then
		fmt.Sprint(first.Process.Pid, 1001, program, false),
		fmt.Sprint(first.Process.Pid, 0, "before", true),
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
