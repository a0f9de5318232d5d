package inventory

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/cryptnono/cryptnono/internal/cgroup"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

func TestMain(m *testing.M) { os.Exit(testutil.RunWithoutLeaks(m)) }

// load loads an inventory until the end of the test.
func load(t *testing.T) *Inventory {
	t.Helper()
	i, err := Load(cgroup.Parser{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { i.Close() })
	return i
}

func TestAProcessIsLocatedFromTheRootOfItsHierarchy(t *testing.T) {
	testutil.Privileged(t)
	i := load(t)
	deep := "/cryptnono-inventory" + strings.Repeat("/x", 9)
	for _, path := range []string{"/cryptnono-inventory", "/cryptnono-inventory/a:b,0::\x1b c", deep} {
		cmd := testutil.SleepIn(t, testutil.MakeCgroup(t, path))
		e, err := i.Locate(cmd.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		want := path
		if path == deep {
			want = "/cryptnono-inventory" + strings.Repeat("/x", 7) + "/..."
		}
		if e.Cgroup.Path != want || e.PID != cmd.Process.Pid || e.PPID != os.Getpid() || e.UID != uint32(os.Getuid()) {
			t.Errorf("got %+v at %q, want %q", e, e.Cgroup.Path, want)
		}
		h, err := e.Open() // compares the start
		if err != nil {
			t.Fatal(err)
		}
		h.Close()
	}
	if e, err := i.Locate(1 << 22); !errors.Is(err, process.ErrGone) {
		t.Errorf("a process that does not exist: %+v, %v", e, err)
	}
}

func TestAnExecIsNoticed(t *testing.T) {
	testutil.Privileged(t)
	i := load(t)
	cmd, execute := testutil.Shell(t)
	first, err := i.Execution(cmd.Process.Pid)
	if err != nil || i.Executes(first) != nil {
		t.Fatal(err, i.Executes(first))
	}
	execute()
	testutil.Eventually(t, "the end of the first program", func() bool { return errors.Is(i.Executes(first), process.ErrGone) })
	next, err := i.Execution(cmd.Process.Pid)
	if err != nil || next.Start != first.Start || next.Exec != first.Exec+1 || i.Executes(next) != nil {
		t.Errorf("it executes %+v after %+v, %v", next, first, err)
	}
	if _, err := i.Execution(1 << 22); !errors.Is(err, process.ErrGone) {
		t.Errorf("of no process: %v", err)
	}
}

// The list names the cgroup of successive processes once. A process that does not fit into
// the kernel's buffer is written twice, and read once.
func TestEachProcessOfAListIsInItsOwnCgroup(t *testing.T) {
	testutil.Privileged(t)
	i := load(t)
	dirs := make(map[string]string)
	for _, top := range []string{"/cryptnono-inventory-a", "/cryptnono-inventory-b"} {
		dirs[top] = testutil.MakeCgroup(t, top+strings.Repeat("/x", 7))
	}
	want := make(map[int]string)
	for range 20 { // a buffer holds some 15 with 8 levels each
		for _, top := range []string{"/cryptnono-inventory-a", "/cryptnono-inventory-b", "/cryptnono-inventory-b"} {
			want[testutil.SleepIn(t, dirs[top]).Process.Pid] = top
		}
	}
	all, err := i.Processes()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		if top, ok := want[e.PID]; ok && e.Cgroup.Path != top+strings.Repeat("/x", 7) {
			t.Errorf("process %d is in %q, want %q", e.PID, e.Cgroup.Path, top)
		}
		delete(want, e.PID)
	}
	if len(want) > 0 {
		t.Errorf("not in the list: %v", want)
	}
}

// Who owns a cgroup chooses the names below, such as that of a pod's container.
func TestNamesInACgroupOfAUserAreNoContainers(t *testing.T) {
	testutil.Privileged(t)
	i := load(t)
	name := "cryptnono-user-" + strconv.Itoa(os.Getpid())
	id := strings.Repeat("0123456789abcdef", 4)
	dir := testutil.MakeCgroup(t, name+"/kubepods/burstable/pod0b3c5b1e-1a2b-4c3d-8e9f-0123456789ab/"+id)
	cmd := testutil.SleepIn(t, dir)
	top := dir[:strings.Index(dir, name)+len(name)]
	for _, c := range []struct {
		owned string // by the user
		want  string
	}{{"", id}, {top, ""}, {filepath.Dir(dir), ""}, {dir, id}} {
		if c.owned != "" {
			if err := os.Chown(c.owned, 65534, 65534); err != nil {
				t.Fatal(err)
			}
		}
		at, err := i.Locate(cmd.Process.Pid)
		if err != nil || at.Cgroup.Container.ID != c.want {
			t.Errorf("with %q of a user: %+v, %v", c.owned, at.Cgroup.Container, err)
		}
		list, err := i.Processes()
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range list {
			if p.PID == cmd.Process.Pid && p.Cgroup.Container.ID != c.want {
				t.Errorf("with %q of a user, in the list: %+v", c.owned, p.Cgroup.Container)
			}
		}
		if c.owned != "" {
			if err := os.Chown(c.owned, 0, 0); err != nil {
				t.Fatal(err)
			}
		}
	}
}
