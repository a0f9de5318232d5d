package escalate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/cgroup"
	"github.com/cryptnono/cryptnono/internal/container"
	"github.com/cryptnono/cryptnono/internal/detector/detectortest"
	"github.com/cryptnono/cryptnono/internal/exempt"
	"github.com/cryptnono/cryptnono/internal/killlimit"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/procread"
	"github.com/cryptnono/cryptnono/internal/rules"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

func TestMain(m *testing.M) {
	procread.ServeIfChild()
	os.Exit(testutil.RunWithoutLeaks(m))
}

func TestAContainerIsEndedAfterItsKills(t *testing.T) {
	testutil.Privileged(t)
	for name, each := range map[string]bool{"at once": false, "process by process": true} {
		t.Run(name, func(t *testing.T) {
			s := both
			s.Parent = rules.Off
			b := run(t, s, detectortest.Options{})
			if each && b.cgroups != nil {
				b.cgroups.Close()
				b.cgroups = nil
			}
			first, nested := makeContainer(t, "/docker/"+newID())
			other, _ := makeContainer(t, "/docker/"+newID())
			b.kills(t, containerKills-1, first)
			b.kills(t, containerKills-1, other)
			b.quiet(t)
			lives(t, first, nested, other)
			b.kills(t, 1, nested) // in the same container
			died(t, first, nested)
			l := b.line(t)
			if l.Msg != "killed a container" || l.Action != "killed" || l.Source != "container" || l.Rule != "a rule" || l.Kills != containerKills ||
				l.PID != first.Process.Pid || !strings.HasPrefix(l.Cgroup, "/docker/") {
				t.Errorf("%+v", l)
			}
			_, err := os.Stat(testutil.CgroupRoot() + "/docker/cgroup.kill")
			if want := each || os.IsNotExist(err); b.each != want {
				t.Errorf("process by process: %v, want %v", b.each, want)
			}
			lives(t, other)
		})
	}
}

func TestAForkBombIsEndedProcessByProcess(t *testing.T) {
	testutil.Privileged(t)
	s := both
	s.Parent = rules.Off
	b := run(t, s, detectortest.Options{})
	dir := testutil.MakeCgroup(t, "/docker/"+newID())
	bomb := testutil.StartIn(t, dir, exec.Command("sh", "-c", "while :; do sleep 0.01 & sleep 0.01; done"))
	at := b.locate(t, bomb.Process.Pid)
	all, err := b.env.Inventory.Processes()
	if err != nil {
		t.Fatal(err)
	}
	target, ok := targetOf(all, at.Cgroup.Key(), false)
	if !ok {
		t.Fatal("no container")
	}
	if err := b.killEach(t.Context(), target, func() {}); err != nil {
		t.Fatal(err)
	}
	died(t, bomb)
	testutil.Eventually(t, "an empty cgroup", func() bool {
		text, err := os.ReadFile(filepath.Join(dir, "cgroup.events"))
		return err == nil && strings.Contains(string(text), "populated 0")
	})
}

// A listing has processes as if they were in the cgroup of a container.
type listing func() []process.Event

func (l listing) Processes() ([]process.Event, error) { return l(), nil }

// Before Linux 5.14 there is no cgroup.kill. If the agent crashes, nothing thaws a container, so it is frozen only
// when all processes that it had at first were killed, and others were found.
func TestAContainerIsFrozenOnlyIfProcessesAreForkedWhileItEnds(t *testing.T) {
	testutil.Privileged(t)
	for name, forks := range map[string]bool{"none is forked": false, "one is forked": true} {
		t.Run(name, func(t *testing.T) {
			b := run(t, both, detectortest.Options{})
			root, id := t.TempDir(), newID()
			dir := filepath.Join(root, "docker", id) // instead of a cgroup
			freeze := filepath.Join(dir, "cgroup.freeze")
			if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(freeze, nil, 0o600)); err != nil {
				t.Fatal(err)
			}
			info, err := os.Stat(dir)
			if err != nil {
				t.Fatal(err)
			}
			at := new(cgroup.Parser).New(0, 2, []cgroup.Level{
				{ID: 1, Name: "docker"}, {ID: info.Sys().(*syscall.Stat_t).Ino, Name: id},
			})
			var cmds []*exec.Cmd
			var all []process.Event
			start := func() {
				cmds = append(cmds, testutil.Sleeper(t))
				p := b.locate(t, cmds[len(cmds)-1].Process.Pid)
				p.Cgroup = at
				all = append(all, p)
			}
			start()
			start()
			var frozen []string // at each listing
			b.Inventory = listing(func() []process.Event {
				text, err := os.ReadFile(freeze)
				if err != nil {
					t.Error(err)
				}
				frozen = append(frozen, string(text))
				if forks && len(frozen) == 2 {
					start()
				}
				return all
			})
			if b.cgroups != nil {
				b.cgroups.Close()
			}
			if b.cgroups, err = os.Open(root); err != nil {
				t.Fatal(err)
			}
			target, ok := targetOf(all, at.Key(), false)
			if !ok {
				t.Fatal("no container")
			}
			if err := b.end(t.Context(), target); err != nil {
				t.Fatal(err)
			}
			died(t, cmds...)
			want, end := []string{"", ""}, ""
			if forks {
				want, end = []string{"", "", "1"}, "0"
			}
			if !slices.Equal(frozen, want) {
				t.Errorf("when listed: %q, want %q", frozen, want)
			}
			if text, err := os.ReadFile(freeze); err != nil || string(text) != end {
				t.Errorf("at the end: %q, %v", text, err)
			}
		})
	}
}

func TestAStepNeedsNoEvent(t *testing.T) {
	testutil.Privileged(t)
	b := run(t, both, detectortest.Options{})
	first, _ := makeContainer(t, "/docker/"+newID())
	p := b.locate(t, first.Process.Pid)
	for range containerKills {
		p.PID++
		b.kill(t, p)
	}
	died(t, first)
}

// A shell starts a program again when it has died. It is ended, but not if it is the first process.
func TestAParentIsEndedThatStartsAProgramAgainAndAgain(t *testing.T) {
	testutil.Privileged(t)
	s := both
	s.Container = rules.Off
	b := run(t, s, detectortest.Options{})
	const loop = "while :; do sleep 600 & echo $!; wait $!; done"
	for name, isFirst := range map[string]bool{"it is the first": true, "it is not": false} {
		t.Run(name, func(t *testing.T) {
			dir := testutil.MakeCgroup(t, "/docker/"+newID())
			t.Cleanup(func() { // after the end of the shell
				pids, _ := os.ReadFile(dir + "/cgroup.procs")
				for text := range strings.FieldsSeq(string(pids)) {
					if pid, err := strconv.Atoi(text); err == nil {
						_ = syscall.Kill(pid, syscall.SIGKILL)
					}
				}
			})
			var first *exec.Cmd
			if !isFirst {
				first = testutil.SleepIn(t, dir)
				time.Sleep(2 * process.ClockTick)
			}
			shell := exec.Command("sh", "-c", loop)
			out, err := shell.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			testutil.StartIn(t, dir, shell)
			for i := range parentKills + 1 {
				var pid int
				if _, err := fmt.Fscan(out, &pid); err != nil {
					t.Fatal(err)
				}
				child := b.locate(t, pid)
				if i == parentKills {
					break
				}
				b.kill(t, child)
				if err := kill(child); err != nil {
					t.Fatal(err)
				}
			}
			b.env.Judge.Limit.NoteKill()
			if isFirst {
				b.quiet(t)
				lives(t, shell)
				return
			}
			died(t, shell)
			if l := b.line(t); l.Msg != "killed a parent process" || l.Source != "parent" || l.PID != shell.Process.Pid || l.Kills != parentKills {
				t.Errorf("%+v", l)
			}
			lives(t, first)
		})
	}
}

// startReading starts a program in a cgroup that reads its standard input.
func startReading(t *testing.T, dir, program string) (*exec.Cmd, io.Closer) {
	t.Helper()
	cmd := exec.Command(program)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	return testutil.StartIn(t, dir, cmd), in
}

// The kernel knows the interpreter as the program of a script.
func TestAnExemptScriptLives(t *testing.T) {
	testutil.Privileged(t)
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh -e\nwhile :; do read line; eval \"$line\"; done\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	want := "program " + script
	for step, its := range map[string]Settings{
		stepContainer: {Container: rules.Kill, ContainerKills: parentKills, Within: time.Hour},
		stepParent:    {Parent: rules.Kill, ParentKills: parentKills, Within: time.Hour},
	} {
		t.Run(step, func(t *testing.T) {
			b := run(t, its, detectortest.Options{Exemptions: exempt.Rules{Programs: []string{script}}})
			dir := testutil.MakeCgroup(t, "/docker/"+newID())
			first := testutil.SleepIn(t, dir)
			cmd, in := startReading(t, dir, script)
			for i := range parentKills {
				p := b.locate(t, first.Process.Pid)
				p.PID, p.PPID = 1<<22+i, cmd.Process.Pid // above all
				b.kill(t, p)
			}
			b.env.Judge.Limit.NoteKill()
			if l := b.line(t); l.Action != "spared" || l.Source != step || l.Allowed != want {
				t.Errorf("%+v", l)
			}
			lives(t, first, cmd)
			in.Close()
		})
	}
}

// While other reads take all of the time of a step, it is not known whether a process runs an exempt script.
func TestAnExemptScriptLivesThoughTheTimeOfAStepIsOver(t *testing.T) {
	testutil.Privileged(t)
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nread line\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	s := Settings{Container: rules.Kill, ContainerKills: containerKills, Within: time.Hour}
	b := run(t, s, detectortest.Options{Exemptions: exempt.Rules{Programs: []string{script}}})
	dir := testutil.MakeCgroup(t, "/docker/"+newID())
	first := testutil.SleepIn(t, dir)
	cmd, in := startReading(t, dir, script)
	defer in.Close()
	b.kills(t, containerKills-1, first)
	owner, key := b.locate(t, first.Process.Pid).Cgroup.Owner, b.locate(t, first.Process.Pid).Cgroup.Key()
	all, err := b.env.Judge.Limit.Kills()
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(all, func(k killlimit.Kills) bool { return k.Cgroup == key })
	if at < 0 {
		t.Fatalf("no kills in %v", all)
	}
	take := func(limit time.Duration) (bool, error) {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		return b.take(ctx, &s, stepContainer, rules.Kill, all[at], b.env.Inventory.Processes)
	}

	// One read of an owner at a time: this one takes a second.
	slow := testutil.Start(t, exec.Command(testutil.BuildC(t, "test/victims/hang_cmdline.c")))
	h, err := process.Open(slow.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	hangs := func(ctx context.Context, owner string) bool {
		_, err := b.env.Judge.Reader.Read(ctx, h, owner)
		return errors.Is(err, procread.ErrStuck)
	}
	testutil.Eventually(t, "a read that hangs", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		return hangs(ctx, "another")
	})
	read := make(chan bool)
	go func() { read <- hangs(t.Context(), owner) }()
	time.Sleep(50 * time.Millisecond)
	if done, err := take(200 * time.Millisecond); done || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the step was taken: %v, %v", done, err)
	}
	if !<-read {
		t.Error("the other read did not hang")
	}
	lives(t, first, cmd)
	if done, err := take(testutil.Patience(stepTime)); !done || err != nil {
		t.Errorf("with enough time: %v, %v", done, err)
	}
	if l := b.line(t); l.Action != "spared" || l.Allowed != "program "+script {
		t.Errorf("%+v", l)
	}
	lives(t, first, cmd)
}

// A runtime has one container of a pod.
type runtime container.Container

func (r runtime) Lookup(context.Context, cgroup.ContainerRef) (*container.Container, error) {
	return (*container.Container)(&r), nil
}

// A slow runtime does not answer for one container.
type slow struct {
	pod     container.Container
	id      string // of that container
	release chan struct{}
}

func (s *slow) Lookup(_ context.Context, ref cgroup.ContainerRef) (*container.Container, error) {
	if ref.ID == s.id {
		<-s.release
	}
	return &s.pod, nil
}

func TestARuntimeThatDoesNotAnswerDelaysNoOtherContainer(t *testing.T) {
	testutil.Privileged(t)
	const pod = "/kubepods/besteffort/pod8f3c1a52-7d16-4f0c-9f3b-0a1b2c3d4e5f/"
	of := &slow{pod: container.Container{Name: "notebook", Namespace: "jupyter", PodUID: "x"}, id: newID(), release: make(chan struct{})}
	release := sync.OnceFunc(func() { close(of.release) })
	s := both
	s.Parent = rules.Off
	b := run(t, s, detectortest.Options{Containers: of})
	t.Cleanup(release) // before the end of Run
	first := testutil.SleepIn(t, testutil.MakeCgroup(t, pod+of.id))
	b.kills(t, containerKills, first)
	for range 2 {
		other := testutil.SleepIn(t, testutil.MakeCgroup(t, pod+newID()))
		b.kills(t, containerKills, other)
		died(t, other)
		if l := b.line(t); l.Action != "killed" || l.PID != other.Process.Pid {
			t.Errorf("%+v", l)
		}
	}
	lives(t, first)
	release()
	died(t, first)
	if l := b.line(t); l.Action != "killed" || l.PID != first.Process.Pid || l.Kills != containerKills {
		t.Errorf("%+v", l)
	}
}

func TestWhatIsSparedIsNotEnded(t *testing.T) {
	testutil.Privileged(t)
	id := newID()
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	pod := "/kubepods/besteffort/pod8f3c1a52-7d16-4f0c-9f3b-0a1b2c3d4e5f/" + id
	for want, c := range map[string]struct {
		path       string
		exemptions exempt.Rules
		containers exempt.Containers
	}{
		"cgroup /docker/*":             {"/docker/" + id, exempt.Rules{Cgroups: []string{"/docker/*"}}, nil},
		"program " + sleep:             {"/docker/" + id, exempt.Rules{Programs: []string{sleep}}, nil},
		"namespace kube-system":        {pod, exempt.Rules{Namespaces: []string{"kube-system"}}, runtime{Name: "dns", Namespace: "kube-system", PodUID: "x"}},
		"the pause container of a pod": {pod, exempt.Rules{}, runtime{Namespace: "jupyter", PodUID: "x"}},
	} {
		t.Run(want, func(t *testing.T) {
			s := both
			s.Parent = rules.Off
			b := run(t, s, detectortest.Options{Exemptions: c.exemptions, Containers: c.containers})
			first := testutil.SleepIn(t, testutil.MakeCgroup(t, c.path))
			b.kills(t, containerKills, first)
			if l := b.line(t); l.Action != "spared" || l.Msg != "spared a container" || l.Allowed != want {
				t.Errorf("%+v", l)
			}
			lives(t, first)
		})
	}
	t.Run("the agent's own container", func(t *testing.T) {
		b := run(t, both, detectortest.Options{})
		// The test runs in it until its end.
		dir := testutil.MakeCgroup(t, "/docker/"+id)
		own, err := os.ReadFile("/proc/self/cgroup")
		if err != nil {
			t.Fatal(err)
		}
		move := func(pid, dir string) {
			if err := os.WriteFile(dir+"/cgroup.procs", []byte(pid), 0); err != nil {
				t.Error(err)
			}
		}
		_, home, _ := strings.Cut("\n"+string(own), "\n0::")
		move(strconv.Itoa(os.Getpid()), dir)
		t.Cleanup(func() { // with the children that read for it
			pids, _ := os.ReadFile(dir + "/cgroup.procs")
			for pid := range strings.FieldsSeq(string(pids)) {
				move(pid, testutil.CgroupRoot()+strings.TrimSpace(home))
			}
		})
		first := testutil.SleepIn(t, dir)
		b.kills(t, containerKills, first)
		if l := b.line(t); l.Action != "spared" || l.Allowed != "the agent's own container" {
			t.Errorf("%+v", l)
		}
		lives(t, first)
	})
}

func TestObserveAndTheKillLimitHold(t *testing.T) {
	testutil.Privileged(t)
	s := both
	s.Container = rules.Observe
	b := run(t, s, detectortest.Options{})
	first, _ := makeContainer(t, "/docker/"+newID())
	b.kills(t, containerKills, first)
	if l := b.line(t); l.Action != "observed" || l.Limited || l.Kills != containerKills {
		t.Errorf("%+v", l)
	}
	b.kills(t, containerKills-1, first)
	b.quiet(t)
	lives(t, first)

	s.Container = rules.Kill
	b.Apply(s)
	if err := b.env.Judge.Limit.Apply(killlimit.Limits{Counted: s.Counted(), PerMinute: 2 * containerKills, Cooldown: time.Hour}); err != nil {
		t.Fatal(err)
	}
	first, _ = makeContainer(t, "/docker/"+newID())
	other, _ := makeContainer(t, "/docker/"+newID())
	b.kills(t, containerKills, first)
	died(t, first)
	if l := b.line(t); l.Action != "killed" {
		t.Errorf("%+v", l)
	}
	b.kills(t, containerKills-1, other) // with the step, all that the limit allows
	b.note(t, other)
	if l := b.line(t); l.Action != "observed" || !l.Limited {
		t.Errorf("%+v", l)
	}
	lives(t, other)
}

func TestKillsCountWithinATime(t *testing.T) {
	w, s := new(watched), both
	const within = 10
	next := func(made uint64, now time.Duration) string {
		w.note(made, now, now-within, s.most())
		step, _ := w.due(&s)
		if step != "" {
			w.taken(step, now)
		}
		return step
	}
	for i, c := range []struct {
		made uint64
		now  time.Duration
		want string
	}{
		{2, 100, ""},
		{3, 109, stepParent},
		{4, 110, ""}, // the first two are too old
		{6, 111, stepParent},
		{7, 112, ""},
		{8, 113, stepContainer},
		{8, 114, ""},
		{1_000_000, 115, stepContainer}, // no more than matter
		{5, 200, stepParent},            // the kernel began again at 0
	} {
		if step := next(c.made, c.now); step != c.want {
			t.Errorf("%d: step %q, want %+v", i, step, c)
		}
	}
	if w.isOld(199) || !w.isOld(200) || len(w.times) > s.most() {
		t.Errorf("%+v", w)
	}
}
