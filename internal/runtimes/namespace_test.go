package runtimes

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

func TestMain(m *testing.M) { os.Exit(testutil.RunWithoutLeaks(m)) }

const patience = 30 * time.Second

// A host is a set of namespaces (PID, mount, network) for runtimes. All processes in it
// end with it.
type host struct {
	t   *testing.T
	dir string // the same inside and outside; short, because a socket's address is limited
	pid int
	// cgroups is the name of a cgroup below the root of each hierarchy, for containers.
	cgroups string
}

func newHost(t *testing.T) *host {
	t.Helper()
	testutil.Privileged(t)
	dir, err := os.MkdirTemp("", "host") //nolint:usetesting // its names are too long for sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	h := &host{t: t, dir: dir, cgroups: "cryptnono-test-" + filepath.Base(dir)}
	cmd := exec.Command("sh", "-ec", `
		mount -t proc proc /proc
		mkdir -p /run/containerd "$0/run" "$0/docker-run"
		mount --bind "$0/run" /run/containerd
		touch "$0/ready"
		exec sleep infinity`, dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:   syscall.CLONE_NEWPID | syscall.CLONE_NEWNET,
		Unshareflags: syscall.CLONE_NEWNS, // with Unshareflags, mounts are private
		Pdeathsig:    syscall.SIGKILL,
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	h.pid = cmd.Process.Pid
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		h.removeCgroups()
	})
	testutil.Eventually(t, "the namespaces", func() bool {
		_, err := os.Stat(h.path("ready"))
		return err == nil
	})
	return h
}

func (h *host) path(names ...string) string {
	return filepath.Join(append([]string{h.dir}, names...)...)
}

// write creates a file on the host.
func (h *host) write(name, content string) string {
	h.t.Helper()
	if err := os.WriteFile(h.path(name), []byte(content), 0o600); err != nil {
		h.t.Fatal(err)
	}
	return h.path(name)
}

// command returns a command that runs on the host.
func (h *host) command(args ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{
		"--target=" + strconv.Itoa(h.pid), "--mount", "--net", "--pid", "--",
	}, args...)...)
}

func (h *host) run(args ...string) {
	h.t.Helper()
	if out, err := h.command(args...).CombinedOutput(); err != nil {
		h.t.Fatalf("%v: %v\n%s", args, err, out)
	}
}

// A daemon is a program on a host. Its output is logged if the test fails.
type daemon struct {
	t    *testing.T
	cmd  *exec.Cmd
	done chan struct{}
}

func (h *host) start(args ...string) *daemon {
	h.t.Helper()
	var output bytes.Buffer
	cmd := h.command(args...)
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.WaitDelay = time.Second // its child processes keep its output open
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	d := &daemon{h.t, cmd, make(chan struct{})}
	go func() {
		_ = cmd.Wait()
		close(d.done)
	}()
	h.t.Cleanup(func() {
		d.kill()
		if h.t.Failed() {
			h.t.Logf("%v printed:\n%s", args[0], output.Bytes())
		}
	})
	return d
}

// kill kills the daemon, but not its child processes. The daemon is a child of nsenter,
// which forks to enter a PID namespace.
func (d *daemon) kill() {
	d.t.Helper()
	pid := strconv.Itoa(d.cmd.Process.Pid)
	children, _ := os.ReadFile("/proc/" + pid + "/task/" + pid + "/children")
	for child := range strings.FieldsSeq(string(children)) {
		if pid, err := strconv.Atoi(child); err == nil {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	select {
	case <-d.done:
	case <-time.After(patience):
		d.t.Error("a daemon does not end")
	}
}

// cgroupOf returns the cgroup of the process /idle with this argument.
func cgroupOf(t *testing.T, argument string) string {
	t.Helper()
	var path string
	testutil.Eventually(t, "the process "+argument, func() bool {
		files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, file := range files {
			args, _ := os.ReadFile(file)
			if strings.HasSuffix(string(args), "/idle\x00"+argument+"\x00") {
				path = readCgroup(filepath.Dir(file))
				return path != ""
			}
		}
		return false
	})
	return path
}

// readCgroup returns the longest path in all hierarchies. In a container with only the
// hierarchies of v1, a runtime creates cgroups only there.
func readCgroup(proc string) string {
	lines, _ := os.ReadFile(proc + "/cgroup")
	var longest string
	for line := range strings.Lines(string(lines)) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(f) == 3 && len(f[2]) > len(longest) {
			longest = f[2]
		}
	}
	return longest
}

// removeCgroups removes cgroups that runtimes have left behind.
func (h *host) removeCgroups() {
	roots, _ := filepath.Glob("/sys/fs/cgroup/*/" + h.cgroups)
	roots = append(roots, "/sys/fs/cgroup/"+h.cgroups)
	for _, root := range roots {
		var dirs []string
		_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		for _, dir := range slices.Backward(dirs) {
			if err := syscall.Rmdir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
				h.t.Logf("removing %s: %v", dir, err)
			}
		}
	}
}
