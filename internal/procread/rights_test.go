package procread

import (
	"errors"
	"io/fs"
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

// TestReadFilesOfTarget reads the mapped files of a process without the right for
// /proc/PID/map_files.
func TestReadFilesOfTarget(t *testing.T) {
	pid, err := strconv.Atoi(os.Getenv(targetVariable))
	if err != nil {
		t.Skip("started by another test")
	}
	r, h := newReader(t), handle(t, pid)
	files := 0
	for _, m := range mappings(t, r, h) {
		if m.Inode == 0 {
			continue
		}
		id, err := r.MappedFile(t.Context(), h, "", m, []Range{{1, 4}}, func(at uint64, data []byte) error {
			files++
			if at != 1 || string(data) != "ELF" && m.Execute {
				t.Errorf("%q at %d of %s", data, at, m.Path)
			}
			return nil
		})
		if err != nil || id.Device != m.Device || id.Inode != m.Inode {
			t.Errorf("%+v: %+v, %v", m, id, err)
		}
		m.Inode++
		if id, err := r.MappedFile(t.Context(), h, "", m, nil, nil); !errors.Is(err, fs.ErrPermission) || errors.Is(err, ErrStuck) {
			t.Errorf("with another inode: %+v, %v", id, err)
		}
	}
	if files < 3 { // the program, the C library and the linker
		t.Errorf("%d files were read", files)
	}
}

func TestMappedFilesAreFoundByTheirPathWithoutTheRight(t *testing.T) {
	testutil.Privileged(t)
	program := testProgram(t)
	// The program is found although it is not at its path.
	moved := copyOfSleep(t, filepath.Join(t.TempDir(), "doze"))
	target := testutil.Start(t, exec.Command(moved, "600"))
	if err := os.Remove(moved); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("setpriv", "--no-new-privs", "--bounding-set=-all,+sys_ptrace,+dac_read_search", "--inh-caps=-all",
		program, "-test.run=^TestReadFilesOfTarget$", "-test.v")
	cmd.Env = append(os.Environ(), targetVariable+"="+strconv.Itoa(target.Process.Pid))
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: TestReadFilesOfTarget") {
		t.Errorf("%v\n%s", err, out)
	}
}

// testProgram returns a copy of this program that every user may execute.
func testProgram(t *testing.T) string {
	t.Helper()
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
	return program
}

// The capabilities are those of packaging/systemd and the chart, and ambient ones of a user.
func TestChildrenReadWithTheCapabilitiesOfTheAgent(t *testing.T) {
	testutil.Privileged(t)
	const capabilities = "+kill,+sys_ptrace,+dac_read_search"
	program := testProgram(t)
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
