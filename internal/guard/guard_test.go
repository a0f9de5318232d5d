package guard

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/container"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

func TestMain(m *testing.M) {
	os.Exit(testutil.RunWithoutLeaks(m))
}

// patience is how long a slow machine may take for what happens in the end.
var patience = testutil.Patience(10 * time.Second)

// A runtime knows the pods of some containers.
type runtime map[string]container.Container

func (r runtime) Parse(cgroup string) (container.Place, bool) { return container.Parse(cgroup) }

func (r runtime) Lookup(ctx context.Context, cgroup string) (*container.Container, error) {
	place, ok := container.Parse(cgroup)
	if !ok {
		return nil, container.ErrNone
	}
	if c, ok := r[place.ID]; ok {
		return &c, nil
	}
	<-ctx.Done() // as one that does not answer
	return nil, ctx.Err()
}

func (r runtime) Owner(cgroup string) string { return cgroup }

func mustLoad(t *testing.T, p Policy, r runtime) *Guard {
	t.Helper()
	testutil.Privileged(t)
	root, err := os.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	g, err := Load(Options{Policy: p, Containers: r, Root: root, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ended, g.Close()); err != nil {
			t.Error(err)
		}
	})
	return g
}

// makeCgroup makes a cgroup of that path, and removes it with the test. It returns
// its directory.
func makeCgroup(t *testing.T, path string) string {
	t.Helper()
	root := "/sys/fs/cgroup"
	if _, err := os.Stat(root + "/cgroup.procs"); err != nil {
		root += "/unified" // beside v1
	}
	for at := root; path != ""; {
		var name string
		name, path, _ = strings.Cut(strings.TrimPrefix(path, "/"), "/")
		at += "/" + name
		root = at
		if err := os.Mkdir(at, 0o755); errors.Is(err, os.ErrExist) {
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			for end := time.Now().Add(patience); os.Remove(at) != nil; time.Sleep(10 * time.Millisecond) {
				if time.Now().After(end) {
					t.Errorf("%s is left", at)
					return
				}
			}
		})
	}
	return root
}

// sleepIn starts a process in a cgroup, by the path of its directory.
func sleepIn(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sleep", "600")
	if dir != "" {
		f, err := os.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(f.Fd())}
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

// executed waits until a command that was started runs its program: on some kernels Start
// returns before that.
func executed(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	ours, err := os.Readlink("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		its, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", cmd.Process.Pid))
		if err == nil && its != ours {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s runs %q: %v", cmd, its, err)
		}
	}
}

func newID() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b)
	return fmt.Sprintf("%x", b)
}

func podPath(id string) string {
	return "/kubepods/besteffort/pod8f3c1a52-7d16-4f0c-9f3b-0a1b2c3d4e5f/" + id
}

func (g *Guard) standing(t *testing.T, c process.Cgroup, level int) bpfStanding {
	t.Helper()
	var s bpfStanding
	err := g.now().cgroups.Lookup(bpfCgroupKey{Id: c.Levels[level].ID, Hierarchy: uint64(c.Hierarchy)}, &s)
	if err != nil {
		return bpfStandingUNKNOWN_CGROUP
	}
	return s
}

func TestAProcessIsLocatedFromTheRootOfItsHierarchy(t *testing.T) {
	g := mustLoad(t, Policy{}, nil)
	deep := "/cryptnono-guard" + strings.Repeat("/x", 9)
	for _, path := range []string{"/cryptnono-guard", "/cryptnono-guard/a:b,0::\x1b c", deep} {
		cmd := sleepIn(t, makeCgroup(t, path))
		e, err := g.Locate(cmd.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		want := path
		if path == deep {
			want = "/cryptnono-guard" + strings.Repeat("/x", 7) + "/..."
		}
		if e.Cgroup.Path() != want || e.PID != cmd.Process.Pid || e.PPID != os.Getpid() || e.UID != uint32(os.Getuid()) {
			t.Errorf("got %+v at %q, want %q", e, e.Cgroup.Path(), want)
		}
		h, err := e.Open() // compares the start
		if err != nil {
			t.Fatal(err)
		}
		h.Close()
	}
	if e, err := g.Locate(1 << 22); !errors.Is(err, process.ErrGone) {
		t.Errorf("a process that does not exist: %+v, %v", e, err)
	}
}

func TestWhatIsMadeIsKnownBeforeAnythingRunsInIt(t *testing.T) {
	system, user := newID(), newID()
	g := mustLoad(t, Policy{Exemptions: Exemptions{Namespaces: []string{"kube-system"}, Cgroups: []string{"/cryptnono-*/exempt"}}}, runtime{
		system: {ID: system, Namespace: "kube-system"},
		user:   {ID: user, Namespace: "jupyter"},
	})
	for path, want := range map[string]bpfStanding{
		podPath(system):               bpfStandingEXEMPT_CGROUP,
		podPath(user):                 bpfStandingCONTAINER_CGROUP,
		"/cryptnono-guard/exempt":     bpfStandingEXEMPT_CGROUP,
		"/cryptnono-guard/other":      bpfStandingHOST_CGROUP,
		podPath(newID()):              bpfStandingUNKNOWN_CGROUP,
		"/cryptnono-guard/" + newID(): bpfStandingCONTAINER_CGROUP, // in no pod
	} {
		dir := makeCgroup(t, path)
		info, err := os.Stat(dir)
		if err != nil {
			t.Fatal(err)
		}
		key := bpfCgroupKey{Id: info.Sys().(*syscall.Stat_t).Ino}
		var got bpfStanding
		for end := time.Now().Add(patience); got != want && time.Now().Before(end); time.Sleep(time.Millisecond) {
			_ = g.now().cgroups.Lookup(key, &got)
		}
		if got != want {
			t.Errorf("%s: got %v, want %v", path, got, want)
		}
	}
}

func TestWhatRunsAlreadyIsKnownSoonAndAgainAfterAChange(t *testing.T) {
	testutil.Privileged(t)
	id := newID()
	cmd := sleepIn(t, makeCgroup(t, podPath(id)))
	pods := Policy{Exemptions: Exemptions{PodLabels: []string{"exempt=yes"}}}
	g := mustLoad(t, pods, runtime{id: {ID: id, Namespace: "jupyter", Labels: map[string]string{"exempt": "yes"}}})
	at, err := g.Locate(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	level := len(at.Cgroup.Levels) - 1
	becomes := func(want bpfStanding) {
		t.Helper()
		for end := time.Now().Add(patience); g.standing(t, at.Cgroup, level) != want; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("it never became %v", want)
			}
		}
	}
	becomes(bpfStandingEXEMPT_CGROUP)
	pods.Exemptions.PodLabels = []string{"exempt=no"}
	if err := g.Apply(pods); err != nil {
		t.Fatal(err)
	}
	becomes(bpfStandingCONTAINER_CGROUP)
}

func TestExemptionsAreNamed(t *testing.T) {
	id := newID()
	g := mustLoad(t, Policy{}, runtime{id: {ID: id, Namespace: "kube-system", Labels: map[string]string{"app": "dns"}}})
	in := func(path string) process.Cgroup {
		var c process.Cgroup
		for i, name := range strings.Split(path[1:], "/") {
			c.Levels = append(c.Levels, process.CgroupLevel{ID: uint64(1000 + i), Name: name})
		}
		c.Depth = len(c.Levels)
		return c
	}
	pod := podPath(id)
	for name, c := range map[string]struct {
		e       Exemptions
		program string
		cgroup  string
		want    string
	}{
		"nothing is exempt":               {Exemptions{}, "/bin/a", pod, ""},
		"a namespace":                     {Exemptions{Namespaces: []string{"a", "kube-system"}}, "/bin/a", pod, "namespace kube-system"},
		"another namespace":               {Exemptions{Namespaces: []string{"kube"}}, "/bin/a", pod, ""},
		"a namespace, outside of pods":    {Exemptions{Namespaces: []string{"kube-system"}}, "/bin/a", "/docker/" + newID(), ""},
		"a namespace, outside of all":     {Exemptions{Namespaces: []string{"kube-system", ""}}, "/bin/a", "/system.slice/a.service", ""},
		"a label":                         {Exemptions{PodLabels: []string{"app=dns"}}, "/bin/a", pod, "pod label app=dns"},
		"any value of a label":            {Exemptions{PodLabels: []string{"app"}}, "/bin/a", pod, "pod label app"},
		"another value of a label":        {Exemptions{PodLabels: []string{"app=d"}}, "/bin/a", pod, ""},
		"a cgroup":                        {Exemptions{Cgroups: []string{"/system.slice/a.*"}}, "/bin/a", "/system.slice/a.service", "cgroup /system.slice/a.*"},
		"a cgroup above":                  {Exemptions{Cgroups: []string{"/system.slice"}}, "/bin/a", "/system.slice/a.service/x", "cgroup /system.slice"},
		"a cgroup with a name as another": {Exemptions{Cgroups: []string{"/system"}}, "/bin/a", "/system.slice/a.service", ""},
		"a name that a stranger chose":    {Exemptions{Cgroups: []string{"/*/*/*/*/spared"}}, "/bin/a", pod + "/spared", ""},
		"a program":                       {Exemptions{Programs: []string{"/bin/a"}}, "/bin/a", "/", "program /bin/a"},
		"another program":                 {Exemptions{Programs: []string{"/bin/a"}}, "/bin/b", "/", ""},
	} {
		if err := g.Apply(Policy{Exemptions: c.e}); err != nil {
			t.Fatal(err)
		}
		cgroup := process.Cgroup{}
		if c.cgroup != "/" {
			cgroup = in(c.cgroup)
		}
		got, err := g.Exempt(t.Context(), process.Event{Cgroup: cgroup, HostRoot: true}, c.program)
		if err != nil || got != c.want {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, c.want)
		}
	}
}

func TestARuntimeThatDoesNotAnswerIsNotWaitedFor(t *testing.T) {
	g := mustLoad(t, Policy{Exemptions: Exemptions{Namespaces: []string{"a"}}}, nil)
	cmd := sleepIn(t, makeCgroup(t, podPath(newID())))
	at, err := g.Locate(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	began := time.Now()
	if by, err := g.Exempt(ctx, at, "/bin/a"); !errors.Is(err, context.DeadlineExceeded) || by != "" {
		t.Errorf("got %q, %v", by, err)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %v", took)
	}
	if s := g.standing(t, at.Cgroup, len(at.Cgroup.Levels)-1); s != bpfStandingUNKNOWN_CGROUP {
		t.Errorf("the kernel was told %v", s)
	}
}

func TestAProgramIsExemptByItsFileOrByItsPathOnTheHost(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	copyFile := func(to string) {
		t.Helper()
		text, err := os.ReadFile(sleep)
		if err == nil {
			err = os.WriteFile(to, text, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	program := at("program")
	copyFile(program)
	copyFile(at("other"))
	if err := os.Symlink(program, at("link")); err != nil {
		t.Fatal(err)
	}
	g := mustLoad(t, Policy{Exemptions: Exemptions{Programs: []string{program}}}, nil)
	run := func(path, as string, attr *syscall.SysProcAttr) string {
		t.Helper()
		cmd := exec.Command(path, "600")
		cmd.SysProcAttr = attr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}()
		executed(t, cmd)
		p, err := g.Locate(cmd.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		by, err := g.Exempt(t.Context(), p, as)
		if err != nil {
			t.Fatal(err)
		}
		return by
	}
	own := &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	for _, c := range []struct {
		what, path, as string
		attr           *syscall.SysProcAttr
		exempt         bool
	}{
		{"the program", program, program, nil, true},
		{"by a link", at("link"), at("link"), nil, true},
		{"in a mount namespace of its own", program, "/elsewhere", own, true},
		{"another program", at("other"), at("other"), nil, false},
		{"another program that claims the path in a namespace of its own", at("other"), program, own, false},
		{"a program of the path on the host", at("other"), program, nil, true},
	} {
		if by := run(c.path, c.as, c.attr); (by == "program "+program) != c.exempt {
			t.Errorf("%s: %q", c.what, by)
		}
	}
	old := run(program, "", nil)
	if err := os.Rename(at("other"), program); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(patience); run(program, "", nil) != old; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a program that was replaced is never exempt by its file")
		}
	}
}

func TestTheBrakeWithholdsKillsBeyondItsLimit(t *testing.T) {
	g := mustLoad(t, Policy{KillLimit: KillLimit{PerMinute: 5, PerContainer: 2, Cooldown: time.Hour}}, nil)
	one := process.Cgroup{Depth: 1, Levels: []process.CgroupLevel{{ID: 1, Name: "one"}}}
	two := process.Cgroup{Depth: 1, Levels: []process.CgroupLevel{{ID: 2, Name: "two"}}}
	three := process.Cgroup{Depth: 1, Levels: []process.CgroupLevel{{ID: 3, Name: "three"}}}
	for i, c := range []struct {
		cgroup process.Cgroup
		held   bool
	}{
		{one, false}, {one, false}, {one, true}, {one, true}, // its own limit
		{two, false}, {two, false}, {three, false}, {three, true}, // the sixth of the node
	} {
		held, err := g.take(c.cgroup)
		if err != nil || held != c.held {
			t.Errorf("kill %d: withheld %v, %v, want %v", i, held, err, c.held)
		}
	}
	if now, err := g.brakes(); err != nil || now != (brakes{node: 1, containers: 1}) {
		t.Errorf("got %+v, %v", now, err)
	}
	cmd := sleepIn(t, "")
	h, err := process.Open(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if err := g.Kill(h, two); !errors.Is(err, ErrBraked) {
		t.Errorf("a kill beyond the limit: %v", err)
	}
	if err := g.Release(); err != nil {
		t.Fatal(err)
	}
	if now, err := g.brakes(); err != nil || now != (brakes{}) {
		t.Errorf("after its release: %+v, %v", now, err)
	}
	if err := g.Kill(h, two); err != nil {
		t.Errorf("a kill after the release: %v", err)
	}
}

func TestTheBrakeLetsGoAfterAQuietPeriod(t *testing.T) {
	const quiet = 3 * time.Second // the settings require more
	g := mustLoad(t, Policy{KillLimit: KillLimit{PerMinute: 1, Cooldown: quiet}}, nil)
	take := func() bool {
		t.Helper()
		held, err := g.take(process.Cgroup{})
		if err != nil {
			t.Fatal(err)
		}
		return held
	}
	if take() || !take() || !take() {
		t.Error("the limit does not hold")
	}
	time.Sleep(quiet + quiet/4)
	if now, err := g.brakes(); err != nil || now != (brakes{}) {
		t.Errorf("after a quiet period: %+v, %v", now, err)
	}
	if take() || !take() {
		t.Error("the limit does not hold after a quiet period")
	}
}

func TestExemptionsThatMakeNoSenseAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		check     func(string) error
		good, bad []string
	}{
		"namespaces": {CheckNamespace, []string{"kube-system", "a1"}, []string{"", "Kube", "a_b"}},
		"pod labels": {CheckLabel, []string{"app", "app.kubernetes.io/name=x", "a="}, []string{"", "=x", "a b"}},
		"cgroups":    {CheckCgroup, []string{"/", "/system.slice/*", "/a[bc]"}, []string{"", "a", "/[a"}},
		"programs": {
			CheckProgram, []string{"/usr/sbin/dnsmasq"},
			[]string{"", "a", "/", "/a/", "/a/../b", "/usr/*", "/" + strings.Repeat("x", 255)},
		},
	} {
		for _, text := range c.good {
			if err := c.check(text); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		for _, text := range c.bad {
			if c.check(text) == nil {
				t.Errorf("%s: %q is accepted", name, text)
			}
		}
	}
}
