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

// targetVariable is set to a pid in a process that runs TestReadTarget.
const targetVariable = "CRYPTNONO_TEST_TARGET"

// TestReadTarget reads a process once. The next test starts it with different rights.
func TestReadTarget(t *testing.T) {
	pid, err := strconv.Atoi(os.Getenv(targetVariable))
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

// The capabilities are those of packaging/systemd and the chart, and ambient ones of a user.
func TestChildrenReadWithTheCapabilitiesOfTheAgent(t *testing.T) {
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
	target := exec.Command("sleep", "600")
	target.Env = []string{"NAME=value"}
	target.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 12345, Gid: 12345}}
	testutil.Start(t, target)
	for name, command := range map[string][]string{
		"root with few capabilities": {"setpriv", "--no-new-privs", "--bounding-set=-all," + capabilities, "--inh-caps=-all"},
		"a user with ambient capabilities": {"setpriv", "--no-new-privs", "--reuid=54321", "--regid=54321", "--clear-groups",
			"--inh-caps=-all," + capabilities, "--ambient-caps=-all," + capabilities},
		"where no other file can be executed or written": {"unshare", "--mount", "sh", "-c",
			// Except for libraries, which the test program may need.
			`for exec in "$0" /usr/lib*; do mount --bind "$exec" "$exec" || exit; done
			mount -o remount,bind,noexec,ro / && ! /bin/true && exec "$0" "$@"`},
	} {
		t.Run(name, func(t *testing.T) {
			args := append(command, program, "-test.run=^TestReadTarget$", "-test.v")
			cmd := exec.Command(args[0], args[1:]...)
			cmd.Env = append(os.Environ(), targetVariable+"="+strconv.Itoa(target.Process.Pid))
			cmd.Dir = "/"
			if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: TestReadTarget") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
