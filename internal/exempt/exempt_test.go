package exempt

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

	"github.com/cryptnono/cryptnono/internal/cgroup"
	"github.com/cryptnono/cryptnono/internal/container"
	"github.com/cryptnono/cryptnono/internal/inventory"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

func TestMain(m *testing.M) {
	os.Exit(testutil.RunWithoutLeaks(m))
}

// patience is the time limit for events that a slow machine may delay.
var patience = testutil.Patience(10 * time.Second)

// A runtime has the pods of some containers, and does not answer about others.
type runtime map[string]container.Container

func (r runtime) Lookup(ctx context.Context, ref cgroup.ContainerRef) (*container.Container, error) {
	if !ref.Contained() {
		return nil, container.ErrNotContainer
	}
	if c, ok := r[ref.ID]; ok {
		return &c, nil
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

// A checker is a running Checker with its inventory.
type checker struct {
	*Checker
	*inventory.Inventory
}

func mustLoad(t *testing.T, r Rules, known runtime) checker {
	t.Helper()
	return mustLoadWith(t, r, known, slog.New(slog.DiscardHandler))
}

func mustLoadWith(t *testing.T, r Rules, known runtime, log *slog.Logger) checker {
	t.Helper()
	testutil.Privileged(t)
	root, err := os.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	inv, err := inventory.Load(cgroup.Parser{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := Load(Options{Rules: r, Inventory: inv, Containers: known, Root: root, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ended, c.Close(), inv.Close()); err != nil {
			t.Error(err)
		}
	})
	return checker{c, inv}
}

// executed waits for the exec of a command that was started: on some kernels Start returns
// before it.
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

func (g checker) class(t *testing.T, c cgroup.Cgroup, level int) bpfCgroupClass {
	t.Helper()
	var s bpfCgroupClass
	err := g.now().maps[bpfMapCgroupClasses].Lookup(bpfCgroupKey{Id: c.Levels[level].ID, Hierarchy: uint64(c.Hierarchy)}, &s)
	if err != nil {
		return bpfCgroupClassCGROUP_UNKNOWN
	}
	return s
}

func TestNewCgroupsAreClassifiedWithoutAProcess(t *testing.T) {
	system, user := newID(), newID()
	g := mustLoad(t, Rules{Namespaces: []string{"kube-system"}, Cgroups: []string{"/cryptnono-*/exempt"}}, runtime{
		system: {ID: system, Namespace: "kube-system"},
		user:   {ID: user, Namespace: "jupyter"},
	})
	for path, want := range map[string]bpfCgroupClass{
		podPath(system):                bpfCgroupClassCGROUP_EXEMPT,
		podPath(user):                  bpfCgroupClassCGROUP_CONTAINER,
		"/cryptnono-exempt/exempt":     bpfCgroupClassCGROUP_EXEMPT,
		"/cryptnono-exempt/other":      bpfCgroupClassCGROUP_HOST,
		podPath(newID()):               bpfCgroupClassCGROUP_UNKNOWN,
		"/cryptnono-exempt/" + newID(): bpfCgroupClassCGROUP_CONTAINER, // in no pod
	} {
		dir := testutil.MakeCgroup(t, path)
		info, err := os.Stat(dir)
		if err != nil {
			t.Fatal(err)
		}
		key := bpfCgroupKey{Id: info.Sys().(*syscall.Stat_t).Ino}
		var got bpfCgroupClass
		for end := time.Now().Add(patience); got != want && time.Now().Before(end); time.Sleep(time.Millisecond) {
			_ = g.now().maps[bpfMapCgroupClasses].Lookup(key, &got)
		}
		if got != want {
			t.Errorf("%s: got %v, want %v", path, got, want)
		}
	}
}

func TestExistingCgroupsAreClassifiedAtTheStartAndAfterAChange(t *testing.T) {
	testutil.Privileged(t)
	id := newID()
	cmd := testutil.SleepIn(t, testutil.MakeCgroup(t, podPath(id)))
	pods := Rules{PodLabels: []string{"exempt=yes"}}
	g := mustLoad(t, pods, runtime{id: {ID: id, Namespace: "jupyter", Labels: map[string]string{"exempt": "yes"}}})
	at, err := g.Locate(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	level := len(at.Cgroup.Levels) - 1
	becomes := func(want bpfCgroupClass) {
		t.Helper()
		for end := time.Now().Add(patience); g.class(t, at.Cgroup, level) != want; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("its class is not %v", want)
			}
		}
	}
	becomes(bpfCgroupClassCGROUP_EXEMPT)
	pods.PodLabels = []string{"exempt=no"}
	if err := g.Apply(pods); err != nil {
		t.Fatal(err)
	}
	becomes(bpfCgroupClassCGROUP_CONTAINER)
}

func TestExemptionsAreNamed(t *testing.T) {
	id := newID()
	g := mustLoad(t, Rules{}, runtime{id: {ID: id, Namespace: "kube-system", Labels: map[string]string{"app": "dns"}}})
	in := func(path string) cgroup.Cgroup {
		var levels []cgroup.Level
		for i, name := range strings.Split(path[1:], "/") {
			levels = append(levels, cgroup.Level{ID: uint64(1000 + i), Name: name})
		}
		return new(cgroup.Parser).New(0, len(levels), levels)
	}
	pod := podPath(id)
	for name, c := range map[string]struct {
		e       Rules
		program string
		cgroup  string
		want    string
	}{
		"nothing is exempt":              {Rules{}, "/bin/a", pod, ""},
		"a namespace":                    {Rules{Namespaces: []string{"a", "kube-system"}}, "/bin/a", pod, "namespace kube-system"},
		"another namespace":              {Rules{Namespaces: []string{"kube"}}, "/bin/a", pod, ""},
		"a namespace, outside of pods":   {Rules{Namespaces: []string{"kube-system"}}, "/bin/a", "/docker/" + newID(), ""},
		"a namespace, outside of all":    {Rules{Namespaces: []string{"kube-system", ""}}, "/bin/a", "/system.slice/a.service", ""},
		"a label":                        {Rules{PodLabels: []string{"app=dns"}}, "/bin/a", pod, "pod label app=dns"},
		"any value of a label":           {Rules{PodLabels: []string{"app"}}, "/bin/a", pod, "pod label app"},
		"another value of a label":       {Rules{PodLabels: []string{"app=d"}}, "/bin/a", pod, ""},
		"a cgroup":                       {Rules{Cgroups: []string{"/system.slice/a.*"}}, "/bin/a", "/system.slice/a.service", "cgroup /system.slice/a.*"},
		"a cgroup above":                 {Rules{Cgroups: []string{"/system.slice"}}, "/bin/a", "/system.slice/a.service/x", "cgroup /system.slice"},
		"a cgroup whose name begins so":  {Rules{Cgroups: []string{"/system"}}, "/bin/a", "/system.slice/a.service", ""},
		"a name chosen in the container": {Rules{Cgroups: []string{"/*/*/*/*/spared"}}, "/bin/a", pod + "/spared", ""},
		"a program":                      {Rules{Programs: []string{"/bin/a"}}, "/bin/a", "/", "program /bin/a"},
		"another program":                {Rules{Programs: []string{"/bin/a"}}, "/bin/b", "/", ""},
	} {
		if err := g.Apply(c.e); err != nil {
			t.Fatal(err)
		}
		cgroup := cgroup.Cgroup{}
		if c.cgroup != "/" {
			cgroup = in(c.cgroup)
		}
		got, err := g.Find(t.Context(), process.Event{Cgroup: cgroup, HostRoot: true}, c.program)
		if err != nil || got != c.want {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, c.want)
		}
	}
}

func TestFindReturnsAtItsDeadlineIfTheRuntimeDoesNotAnswer(t *testing.T) {
	g := mustLoad(t, Rules{Namespaces: []string{"a"}}, nil)
	cmd := testutil.SleepIn(t, testutil.MakeCgroup(t, podPath(newID())))
	at, err := g.Locate(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	began := time.Now()
	if by, err := g.Find(ctx, at, "/bin/a"); !errors.Is(err, context.DeadlineExceeded) || by != "" {
		t.Errorf("got %q, %v", by, err)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %v", took)
	}
	if s := g.class(t, at.Cgroup, len(at.Cgroup.Levels)-1); s != bpfCgroupClassCGROUP_UNKNOWN {
		t.Errorf("the kernel has the class %v", s)
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
	g := mustLoad(t, Rules{Programs: []string{program}}, nil)
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
		by, err := g.Find(t.Context(), p, as)
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
		{"in another mount namespace", program, "/elsewhere", own, true},
		{"another program", at("other"), at("other"), nil, false},
		{"another program that claims the path in another mount namespace", at("other"), program, own, false},
		{"a program with the path on the host", at("other"), program, nil, true},
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
			t.Fatal("the new file of a replaced program is not exempt")
		}
	}
}

func TestInvalidExemptionsAreRefused(t *testing.T) {
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
