package inventory

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/cryptnono/cryptnono/internal/cgroup"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

func TestMain(m *testing.M) { os.Exit(testutil.RunWithoutLeaks(m)) }

func TestAProcessIsLocatedFromTheRootOfItsHierarchy(t *testing.T) {
	testutil.Privileged(t)
	i, err := Load(cgroup.Parser{})
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
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
