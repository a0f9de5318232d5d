package procread

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

// victimVariable names a process that the test program reads once when it is set.
const victimVariable = "CRYPTNONO_TEST_VICTIM"

// TestReadingAsWhoeverIAm is no test, but the process of the next one.
func TestReadingAsWhoeverIAm(t *testing.T) {
	pid, err := strconv.Atoi(os.Getenv(victimVariable))
	if err != nil {
		t.Skip("started by another test")
	}
	r, h := newReader(t), handle(t, pid)
	info, err := r.Read(t.Context(), h, "")
	if err != nil || string(info.Args) != "sleep\x00600\x00" || info.Rewritten {
		t.Errorf("got %+v, %v", info, err)
	}
	env, err := r.Environ(t.Context(), h, "", []string{"NAME"})
	if err != nil || env["NAME"] != "value" {
		t.Errorf("got environment %q, %v", env, err)
	}
}

// The rights are those of packaging/systemd and of the chart, and those that a site may
// give to a user.
func TestChildrenReadWithTheRightsThatTheAgentIsGiven(t *testing.T) {
	testutil.Privileged(t)
	const capabilities = "+kill,+sys_ptrace,+dac_read_search"
	program := filepath.Join(t.TempDir(), "program")
	text, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, text, 0o755); err != nil {
		t.Fatal(err)
	}
	for dir := filepath.Dir(program); dir != os.TempDir(); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	victim := exec.Command("sleep", "600")
	victim.Env = []string{"NAME=value"}
	victim.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 12345, Gid: 12345}}
	testutil.Start(t, victim)
	for name, how := range map[string][]string{
		"root with few capabilities": {"setpriv", "--no-new-privs", "--bounding-set=-all," + capabilities, "--inh-caps=-all"},
		"a user with ambient ones": {"setpriv", "--no-new-privs", "--reuid=54321", "--regid=54321", "--clear-groups",
			"--inh-caps=-all," + capabilities, "--ambient-caps=-all," + capabilities},
		"where nothing else may be executed or written": {"unshare", "--mount", "sh", "-c",
			// But libraries, which a test program may need.
			`for exec in "$0" /usr/lib*; do mount --bind "$exec" "$exec" || exit; done
			mount -o remount,bind,noexec,ro / && ! /bin/true && exec "$0" "$@"`},
	} {
		t.Run(name, func(t *testing.T) {
			args := append(how, program, "-test.run=^TestReadingAsWhoeverIAm$", "-test.v")
			cmd := exec.Command(args[0], args[1:]...)
			cmd.Env = append(os.Environ(), victimVariable+"="+strconv.Itoa(victim.Process.Pid))
			cmd.Dir = "/"
			if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: TestReadingAsWhoeverIAm") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
