package hashwork

import (
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/detector/detectortest"
	"github.com/cryptnono/cryptnono/internal/detector/hashwork/learned"
	"github.com/cryptnono/cryptnono/internal/evidence"
	"github.com/cryptnono/cryptnono/internal/exempt"
	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/rules"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// newLearnBed returns a bed whose rule program needs one second of CPU time.
func newLearnBed(t *testing.T, o detectortest.Options, allow ...string) *bed {
	t.Helper()
	b := &bed{t: t, log: new(testutil.Buffer)}
	o.Log = slog.New(slog.NewJSONHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	e := detectortest.Env(t, o)
	e.Judge.Evidence = evidence.New(e.Judge.Reader, e.Inventory, evidence.Settings{WorkingDirectory: true, Ancestors: true})
	var err error
	if b.Detector, err = Load(e, learnPolicy(t, nil, allow...)); err != nil {
		t.Fatal(err)
	}
	b.learned.socket = filepath.Join(t.TempDir(), "learned.sock")
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	detectortest.Run(t, b.Detector)
	return b
}

func learnPolicy(t *testing.T, change func(*Settings), allow ...string) detector.Policy {
	t.Helper()
	s := Defaults()
	s.Program.CPUTime = time.Second
	if change != nil {
		change(s)
	}
	var set rules.Set
	for _, expr := range allow {
		set.Allowed = append(set.Allowed, rules.Pattern{Expr: expr, Origin: rules.Origin{File: "site.yaml", Line: 1, Key: "allowedCommandPatterns"}})
	}
	m, err := match.Compile(set)
	if err != nil {
		t.Fatal(err)
	}
	return detector.Policy{Settings: s, Matcher: m}
}

// learns has a program killed by the rule program, and waits until it is learned.
func (b *bed) learns(program string) learned.File {
	b.t.Helper()
	cmd := testutil.Start(b.t, exec.Command(program))
	b.dies(cmd, programRule)
	var found learned.File
	testutil.Eventually(b.t, "the learned file", func() bool {
		for _, f := range b.files() {
			if f.PID == cmd.Process.Pid {
				found = f
			}
		}
		return found.ID != 0
	})
	return found
}

func (b *bed) files() []learned.File {
	b.t.Helper()
	all, err := b.learned.files.Files()
	if err != nil {
		b.t.Fatal(err)
	}
	return all
}

// diesAtStart checks that a program is killed because its file was learned, and returns the line.
func (b *bed) diesAtStart(cmd *exec.Cmd) map[string]any {
	b.t.Helper()
	testutil.Start(b.t, cmd)
	if s := testutil.DiedOf(cmd); s != syscall.SIGKILL {
		b.t.Fatalf("it died of %v: %s", s, b.log.String())
	}
	if used := cmd.ProcessState.UserTime(); used > 20*time.Millisecond {
		b.t.Errorf("it computed for %v", used)
	}
	var lines []map[string]any
	testutil.Eventually(b.t, "the line", func() bool {
		lines = b.lines(cmd.Process.Pid)
		return len(lines) > 0
	})
	if l := lines[0]; l["rule"] != "hashwork learned" || l["source"] != "exec" || l["action"] != "killed" {
		b.t.Errorf("the line is %v", l)
	}
	return lines[0]
}

func TestALearnedFileDiesAtItsNextStart(t *testing.T) {
	testutil.Privileged(t)
	b := newLearnBed(t, detectortest.Options{})
	dir := t.TempDir()
	program := copyOf(t, testutil.BuildC(t, victim), dir)
	f := b.learns(program)
	if f.Path != program || f.Hits != 0 || !f.LastHit.IsZero() || time.Until(f.Expires) < 23*time.Hour {
		t.Errorf("learned %+v", f)
	}
	cmd := exec.Command(program)
	cmd.Dir = dir
	line := b.diesAtStart(cmd)
	about, _ := line["learned"].(map[string]any)
	if about["id"] != float64(f.ID) || about["pid"] != float64(f.PID) || about["file"] != program || line["program"] != program {
		t.Errorf("the line is %v", line)
	}
	ancestors, _ := line["ancestors"].([]any)
	if line["cwd"] != dir || len(ancestors) == 0 || ancestors[0].(map[string]any)["pid"] != float64(os.Getpid()) {
		t.Errorf("got %v and %v", line["cwd"], ancestors)
	}
	link := filepath.Join(dir, "link")
	if err := os.Link(program, link); err != nil {
		t.Fatal(err)
	}
	b.diesAtStart(exec.Command(link))
	if err := os.Chmod(program, 0o755); err != nil {
		t.Fatal(err)
	}
	b.diesAtStart(exec.Command(program))
	if f := b.files()[0]; f.Hits != 3 || time.Since(f.LastHit).Abs() > time.Minute {
		t.Errorf("after three starts: %+v", f)
	}

	second := filepath.Join(dir, "second")
	if err := os.Mkdir(second, 0o700); err != nil {
		t.Fatal(err)
	}
	b.learns(copyOf(t, program, second)) // another file: it computes until the rule program finds it

	content, err := os.ReadFile("/bin/true")
	if err == nil {
		err = os.WriteFile(program, content, 0o700) // the same inode
	}
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(program).CombinedOutput(); err != nil {
		t.Errorf("with another content: %v %s", err, out)
	}
}

func TestALearnedFileIsForgotten(t *testing.T) {
	testutil.Privileged(t)
	b := newLearnBed(t, detectortest.Options{})
	program := testutil.BuildC(t, victim)
	f := b.learns(program)
	testutil.Eventually(t, "the socket", func() bool {
		all, err := learned.List(t.Context(), b.learned.socket)
		return err == nil && len(all) == 1 && all[0].ID == f.ID
	})
	if all, err := learned.Forget(t.Context(), b.learned.socket, learned.Selection{Path: f.Path}); err != nil || len(all) != 1 {
		t.Fatalf("%v, %v", all, err)
	}
	f = b.learns(program)
	b.diesAtStart(exec.Command(program))
	if err := b.learned.files.sweep(newest(b) + 24*time.Hour - time.Second); err != nil || len(b.files()) != 1 {
		t.Errorf("it has expired too early: %v", err)
	}
	if err := b.learned.files.sweep(newest(b) + 24*time.Hour + time.Second); err != nil || len(b.files()) != 0 {
		t.Errorf("it has not expired: %v", err)
	}
	b.learns(program)
	// Without the rule, nothing is learned, and what was learned is forgotten.
	if err := b.Apply(learnPolicy(t, func(s *Settings) { s.Learned.Enabled = false })); err != nil {
		t.Fatal(err)
	}
	b.dies(testutil.Start(t, exec.Command(program)), programRule)
	b.dies(testutil.Start(t, exec.Command(program)), programRule)
	if all := b.files(); len(all) != 0 {
		t.Errorf("learned %+v", all)
	}
}

// newest returns the monotonic time of the newest exec of the only learned file.
func newest(b *bed) time.Duration {
	b.learned.files.mu.Lock()
	defer b.learned.files.mu.Unlock()
	for _, f := range b.learned.files.files.All() {
		return f.newest
	}
	b.t.Fatal("nothing is learned")
	return 0
}

// Two containers of one image are two overlayfs on the same directory.
func TestAFileThatIsLearnedInOneContainerDiesInAnother(t *testing.T) {
	testutil.Privileged(t)
	if systems, err := os.ReadFile("/proc/filesystems"); err != nil || !strings.Contains(string(systems), "\toverlay\n") {
		t.Skip("this kernel has no overlayfs")
	}
	b := newLearnBed(t, detectortest.Options{})
	dir := newImage(t, testutil.BuildC(t, victim))
	first, second := newContainer(t, dir, "first"), newContainer(t, dir, "second")
	program := first + "/worker"
	b.learns(program)
	b.diesAtStart(exec.Command(program))
	b.diesAtStart(exec.Command(second + "/worker"))
	// Also if user space decides.
	if err := b.Apply(learnPolicy(t, nil, "another program")); err != nil {
		t.Fatal(err)
	}
	cmd := testutil.Start(t, exec.Command(second+"/worker"))
	if s := testutil.DiedOf(cmd); s != syscall.SIGKILL {
		t.Errorf("it died of %v", s)
	}
	testutil.Eventually(t, "the line", func() bool { return len(b.lines(cmd.Process.Pid)) > 0 })
	if l := b.lines(cmd.Process.Pid)[0]; l["source"] != "exec" {
		t.Errorf("the line is %v", l)
	}
	if err := b.Apply(learnPolicy(t, nil)); err != nil {
		t.Fatal(err)
	}
	// In the second, it becomes another file (copy-up).
	content, err := os.ReadFile("/bin/true")
	if err == nil {
		err = os.WriteFile(second+"/worker", content, 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(second + "/worker").CombinedOutput(); err != nil {
		t.Errorf("with another content: %v %s", err, out)
	}
	b.diesAtStart(exec.Command(program))
	// A file of the container's own.
	b.learns(copyOf(t, filepath.Join(dir, "image/worker"), second))
	b.diesAtStart(exec.Command(second + "/worker"))
}

// newImage returns a directory for overlayfs, with a program in image/worker.
func newImage(t *testing.T, program string) string {
	t.Helper()
	dir := t.TempDir()
	mount(t, dir)
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	for _, name := range []string{"image", "other"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	copyOf(t, program, filepath.Join(dir, "image"))
	return dir
}

// newContainer mounts an overlayfs with an image.
func newContainer(t *testing.T, dir, name string) string {
	t.Helper()
	at := filepath.Join(dir, name)
	for _, part := range []string{"", "/upper", "/work", "/all"} {
		if err := os.Mkdir(at+part, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	options := "lowerdir=" + dir + "/other:" + dir + "/image,upperdir=" + at + "/upper,workdir=" + at + "/work"
	if err := unix.Mount("overlay", at+"/all", "overlay", 0, options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(at+"/all", unix.MNT_DETACH) })
	return at + "/all"
}

// A container cannot have a program of its image learned, which others execute too.
func TestAFileIsNotLearnedForACopyOfIt(t *testing.T) {
	testutil.Privileged(t)
	if systems, err := os.ReadFile("/proc/filesystems"); err != nil || !strings.Contains(string(systems), "\toverlay\n") {
		t.Skip("this kernel has no overlayfs")
	}
	b := newLearnBed(t, detectortest.Options{})
	dir := newImage(t, "/bin/true")
	first, second := newContainer(t, dir, "first"), newContainer(t, dir, "second")
	b.dies(testutil.Start(t, exec.Command(testutil.BuildC(t, "test/victims/borrowed_number.c"), first+"/worker")), programRule)
	testutil.Eventually(t, "the end of the verdict", func() bool {
		return len(b.files()) > 0 || strings.Contains(b.log.String(), "program file not learned")
	})
	if all := b.files(); len(all) != 0 {
		t.Errorf("learned %+v", all)
	}
	if out, err := exec.Command(second + "/worker").CombinedOutput(); err != nil {
		t.Errorf("%v %s", err, out)
	}
}

func TestNothingIsLearnedThatIsNotKilled(t *testing.T) {
	testutil.Privileged(t)
	program := testutil.BuildC(t, victim)
	for _, c := range []struct {
		name   string
		o      detectortest.Options
		change func(*Settings)
		allow  []string
		action string
	}{
		{"observed", detectortest.Options{}, func(s *Settings) { s.Action = rules.Observe }, nil, "observed"},
		{"exempt", detectortest.Options{Exemptions: exempt.Rules{Programs: []string{program}}}, nil, nil, "spared"},
		{"allowed", detectortest.Options{}, nil, []string{program}, "spared"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newLearnBed(t, c.o, c.allow...)
			if err := b.Apply(learnPolicy(t, c.change, c.allow...)); err != nil {
				t.Fatal(err)
			}
			cmd := testutil.Start(t, exec.Command(program))
			testutil.Eventually(t, "the line", func() bool { return len(b.lines(cmd.Process.Pid)) > 0 })
			if l := b.lines(cmd.Process.Pid)[0]; l["action"] != c.action {
				t.Errorf("the line is %v", l)
			}
			if all := b.files(); len(all) != 0 {
				t.Errorf("learned %+v", all)
			}
		})
	}
}

// A library is not learned, nor the interpreter that has it.
func TestOnlyTheProgramItselfIsLearned(t *testing.T) {
	testutil.Privileged(t)
	python := needed(t, "python3")
	library := testutil.BuildC(t, victim, "-shared", "-fPIC")
	b := newLearnBed(t, detectortest.Options{})
	b.dies(testutil.Start(t, exec.Command(python, "-c",
		"import ctypes; l = ctypes.CDLL('"+library+"'); l.compute.argtypes = [ctypes.c_double]; l.compute(0)")), programRule)
	if all := b.files(); len(all) != 0 || !strings.Contains(b.log.String(), "program file not learned") {
		t.Errorf("learned %+v", all)
	}
}

// An exec of a learned file is exempt, allowed or observed by the policy in force then.
func TestAnExecOfALearnedFileIsDecidedByThePolicy(t *testing.T) {
	testutil.Privileged(t)
	program := testutil.BuildC(t, victim)
	b := newLearnBed(t, detectortest.Options{})
	b.learns(program)
	action := func(cmd *exec.Cmd) map[string]any {
		t.Helper()
		testutil.Start(t, cmd)
		testutil.Eventually(t, "the line", func() bool { return len(b.lines(cmd.Process.Pid)) > 0 })
		return b.lines(cmd.Process.Pid)[0]
	}
	if err := b.Apply(learnPolicy(t, func(s *Settings) { s.Action = rules.Observe })); err != nil {
		t.Fatal(err)
	}
	if l := action(exec.Command(program)); l["action"] != "observed" || l["source"] != "exec" {
		t.Errorf("the line is %v", l)
	}
	if err := b.Apply(learnPolicy(t, nil, program+" benchmark")); err != nil {
		t.Fatal(err)
	}
	if l := action(exec.Command(program, "benchmark")); l["action"] != "spared" || l["source"] != "exec" || !strings.HasPrefix(l["allowedby"].(string), "site.yaml:1 ") {
		t.Errorf("the line is %v", l)
	}
	// In user space, so within milliseconds.
	if l := action(exec.Command(program, "other")); l["action"] != "killed" || l["source"] != "exec" || !strings.HasSuffix(l["cmdline"].(string), " other") {
		t.Errorf("the line is %v", l)
	}
	if err := b.Apply(learnPolicy(t, nil)); err != nil {
		t.Fatal(err)
	}
	b.diesAtStart(exec.Command(program, "benchmark"))
}

func TestAnExecOfALearnedFileIsExempt(t *testing.T) {
	testutil.Privileged(t)
	program := copyOf(t, testutil.BuildC(t, victim), t.TempDir())
	link := filepath.Join(filepath.Dir(program), "exempt")
	b := newLearnBed(t, detectortest.Options{Exemptions: exempt.Rules{Programs: []string{link}}})
	b.learns(program)
	b.diesAtStart(exec.Command(program))
	if err := os.Symlink(program, link); err != nil {
		t.Fatal(err)
	}
	cmd := testutil.Start(t, exec.Command(link))
	testutil.Eventually(t, "the line", func() bool { return len(b.lines(cmd.Process.Pid)) > 0 })
	if l := b.lines(cmd.Process.Pid)[0]; l["action"] != "spared" || l["source"] != "exec" {
		t.Errorf("the line is %v", l)
	}
}

func TestTheVerifierIsFarFromItsLimitWithLearnedFiles(t *testing.T) {
	testutil.Privileged(t)
	spec, err := loadLearned()
	if err != nil {
		t.Fatal(err)
	}
	testutil.LogVerified(t, "hashwork-learned", spec)
}
