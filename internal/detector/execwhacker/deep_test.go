package execwhacker

import (
	"encoding/json"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/detector/detectortest"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// Before Linux 6.1 no level of such a cgroup is recorded. The event must not have those of the
// process before.
func TestTheEventOfADeepCgroupHasTheProgramAndItsArguments(t *testing.T) {
	const word = "execwhackerdeepcgroupword"
	var out testutil.Buffer
	log := slog.New(slog.NewJSONHandler(&out, nil))
	env := detectortest.Env(t, detectortest.Options{Log: log})
	d := loadIn(t, env, banning(t, word))
	detectortest.Run(t, d)
	runtime.LockOSThread() // the buffer is of one CPU
	var old, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &old); err != nil {
		t.Fatal(err)
	}
	one.Set(0)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		t.Fatal(err)
	}
	defer runtime.UnlockOSThread()
	defer unix.SchedSetaffinity(0, &old) //nolint:errcheck // a test
	for _, path := range []string{"/cryptnono-deep" + strings.Repeat("/forged", 7), "/cryptnono-deep" + strings.Repeat("/x", 70)} {
		f, err := os.Open(testutil.MakeCgroup(t, path))
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("/bin/echo", word, path)
		cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(f.Fd())}
		if err := cmd.Run(); err == nil {
			t.Errorf("%s: it lives", path)
		}
		f.Close()
	}
	testutil.Eventually(t, "two lines", func() bool {
		return strings.Count(out.String(), word) >= 2 && strings.Count(out.String(), "killed") >= 2
	})
	for line := range strings.Lines(out.String()) {
		var l struct{ Program, Cmdline, Cgroup string }
		if err := json.Unmarshal([]byte(line), &l); err != nil || l.Program != "/bin/echo" || !strings.HasPrefix(l.Cmdline, "/bin/echo "+word) {
			t.Errorf("program %q, command line %q, cgroup %q", l.Program, l.Cmdline, l.Cgroup)
		}
	}
}
