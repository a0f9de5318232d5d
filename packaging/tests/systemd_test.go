package packaging

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

const unit = "../../packaging/systemd/cryptnono.service"

func TestTheUnitLetsTheAgentDoLittle(t *testing.T) {
	out := output(t, "systemd-analyze", "security", "--offline=yes", "--threshold=31", "--no-pager", unit)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	t.Log(lines[len(lines)-1])
}

// A machine runs systemd: see machine.sh.
type machine struct{ pid string }

func newMachine(t *testing.T) machine {
	t.Helper()
	cgroup := "cryptnono-test-" + strconv.Itoa(os.Getpid())
	t.Cleanup(func() { removeCgroups(t, cgroup) })
	return machine{hold(t, exec.Command("unshare", "--mount", "./machine.sh", cgroup, "bash", "-c", "echo $PPID; cat >/dev/null"))}
}

// hold starts a command, returns the first line of its output, and closes its input at
// the end of the test, which ends the command.
func hold(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		_, _ = io.Copy(io.Discard, stdout)
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v", cmd, err)
		}
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("waiting for the first line of %s: %v", cmd, err)
	}
	return strings.TrimSuffix(line, "\n")
}

// removeCgroups removes a cgroup and its descendants from all hierarchies.
func removeCgroups(t *testing.T, name string) {
	t.Helper()
	roots, err := filepath.Glob("/sys/fs/cgroup/" + name)
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob("/sys/fs/cgroup/*/" + name)
	if err != nil {
		t.Fatal(err)
	}
	for _, root := range append(roots, more...) {
		testutil.Eventually(t, "an empty "+root, func() bool {
			return exec.Command("find", root, "-depth", "-type", "d", "-delete").Run() == nil
		})
	}
}

// try runs a command on the machine and returns its output and whether it
// succeeded.
func (m machine) try(args ...string) (string, bool) {
	cmd := exec.Command("nsenter", append([]string{"--target", m.pid, "--mount", "--"}, args...)...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8")
	out, err := cmd.CombinedOutput()
	return string(out), err == nil
}

// run is try for a command that must succeed.
func (m machine) run(t *testing.T, args ...string) string {
	t.Helper()
	out, ok := m.try(args...)
	if !ok {
		t.Fatalf("%s:\n%s", strings.Join(args, " "), out)
	}
	return out
}

// property returns a property of the service from systemd.
func (m machine) property(t *testing.T, name string) string {
	t.Helper()
	return strings.TrimSpace(m.run(t, "systemctl", "--system", "show", "--property", name, "--value", "cryptnono.service"))
}

// protected reports whether the self-test is killed.
func (m machine) protected() bool {
	out, ok := m.try("/bin/echo", "cryptnono.BANNED.string1")
	return !ok && out == ""
}

// watch runs the self-test again and again until lives is called, which returns how often it has lived.
func (m machine) watch(t *testing.T) (lives func() int) {
	t.Helper()
	stop, result := make(chan struct{}), make(chan int, 1)
	go func() {
		n := 0
		for {
			if !m.protected() {
				n++
			}
			select {
			case <-stop:
				result <- n
				return
			default:
			}
		}
	}()
	return func() int {
		close(stop)
		return <-result
	}
}

// From dpkg -i to dpkg --purge.
func TestThePackageProtectsAMachineWithSystemd(t *testing.T) {
	pkg := deb(t, runtime.GOARCH)
	m := newMachine(t)
	if m.protected() {
		t.Fatal("another agent is at work")
	}

	m.run(t, "dpkg", "--install", pkg)
	if state := m.property(t, "ActiveState"); state != "active" {
		t.Fatalf("installed, and %s:\n%s", state, m.run(t, "systemctl", "--system", "status", "--no-pager", "cryptnono.service"))
	}
	if status := m.property(t, "StatusText"); !strings.Contains(status, "execwhacker") {
		t.Errorf("its status is %q", status)
	}
	if !m.protected() {
		t.Error("the self-test lives")
	}
	m.run(t, "systemctl", "--system", "is-enabled", "--quiet", "cryptnono.service")

	t.Run("with only the capabilities that it needs", func(t *testing.T) {
		status := string(read(t, "/proc/"+m.property(t, "MainPID")+"/status"))
		// CAP_DAC_READ_SEARCH, CAP_KILL, CAP_NET_ADMIN, CAP_SYS_PTRACE, CAP_PERFMON, CAP_BPF,
		// CAP_CHECKPOINT_RESTORE.
		for _, want := range []string{"CapEff:\t000001c000081024\n", "CapBnd:\t000001c000081024\n", "NoNewPrivs:\t1\n", "Seccomp:\t2\n"} {
			if !strings.Contains(status, want) {
				t.Errorf("no %q in %s", want, status)
			}
		}
	})
	t.Run("without pins, it finds none of an earlier agent", func(t *testing.T) { // ExecStartPre has made the directory
		m.run(t, "bash", "-ec", `mkdir -p /etc/systemd/system/cryptnono.service.d
			printf '[Service]\nStandardOutput=truncate:/run/cryptnono.log\n' >/etc/systemd/system/cryptnono.service.d/log.conf
			systemctl --system daemon-reload
			systemctl --system restart cryptnono.service`)
		log := m.run(t, "cat", "/run/cryptnono.log")
		if !strings.Contains(log, `"msg":"ready"`) || strings.Contains(log, "of an earlier agent") {
			t.Error(log)
		}
		m.run(t, "test", "-d", "/sys/fs/bpf/cryptnono")
		m.run(t, "bash", "-ec", "rm -r /etc/systemd/system/cryptnono.service.d; systemctl --system daemon-reload; systemctl --system restart cryptnono.service")
	})
	t.Run("doctor passes with these capabilities", func(t *testing.T) {
		if out, ok := m.try("/usr/bin/cryptnono", "doctor"); !ok {
			t.Error(out)
		}
	})
	t.Run("a reload brings a new rule", func(t *testing.T) {
		m.run(t, "bash", "-c", `printf 'bannedCommandStrings: ["%s"]\n' "$1" >/etc/cryptnono/rules.d/more.yaml`, "-", word)
		pid := m.property(t, "MainPID")
		m.run(t, "systemctl", "--system", "reload", "cryptnono.service")
		testutil.Eventually(t, "a kill by the new rule", func() bool {
			_, ok := m.try("/bin/echo", word)
			return !ok
		})
		// systemd's state is "reloading" until the agent reports that it has reloaded.
		testutil.Eventually(t, "the end of the reload", func() bool { return m.property(t, "ActiveState") == "active" })
		if now := m.property(t, "MainPID"); now != pid {
			t.Errorf("process %s became %s", pid, now)
		}
	})
	t.Run("a reload of a bad file fails, and the status has the reason", func(t *testing.T) {
		m.run(t, "bash", "-c", "echo 'bannedPrograms: [kubelet]' >/etc/cryptnono/rules.d/bad.yaml")
		const problem = `/etc/cryptnono/rules.d/bad.yaml:1: bannedPrograms[0]: "kubelet" would kill kubelet`
		if out, ok := m.try("systemctl", "--system", "reload", "cryptnono.service"); ok {
			t.Errorf("reloaded: %s", out)
		}
		testutil.Eventually(t, "the status", func() bool {
			return strings.Contains(m.property(t, "StatusText"), "the last change was refused: "+problem)
		})
		if state := m.property(t, "ActiveState"); state != "active" || !m.protected() {
			t.Errorf("it is %s, or the self-test lives", state)
		}
	})
	t.Run("a start with a bad file protects by the others", func(t *testing.T) {
		m.run(t, "systemctl", "--system", "restart", "cryptnono.service")
		if status := m.property(t, "StatusText"); !strings.Contains(status, "not in effect: /etc/cryptnono/rules.d/bad.yaml:1: ") || !m.protected() {
			t.Errorf("its status is %q, or the self-test lives", status)
		}
		m.run(t, "rm", "/etc/cryptnono/rules.d/bad.yaml")
		testutil.Eventually(t, "a status without the file", func() bool { return !strings.Contains(m.property(t, "StatusText"), "bad.yaml") })
	})
	t.Run("an agent that is killed is started again within a second", func(t *testing.T) {
		pid := m.property(t, "MainPID")
		n, err := strconv.Atoi(pid)
		if err != nil {
			t.Fatal(err)
		}
		var killed unix.Timespec
		if err := errors.Join(unix.ClockGettime(unix.CLOCK_MONOTONIC, &killed), syscall.Kill(n, syscall.SIGKILL)); err != nil {
			t.Fatal(err)
		}
		testutil.Eventually(t, "another process", func() bool { now := m.property(t, "MainPID"); return now != "0" && now != pid })
		started, err := strconv.ParseInt(m.property(t, "ExecMainStartTimestampMonotonic"), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		testutil.Eventually(t, "protection", m.protected)
		var protected unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &protected); err != nil {
			t.Fatal(err)
		}
		start := time.Duration(started)*time.Microsecond - time.Duration(killed.Nano())
		t.Logf("started again after %v, protected after %v", start, time.Duration(protected.Nano()-killed.Nano()))
		if start > testutil.Patience(time.Second) {
			t.Error("too late")
		}
	})
	t.Run("an agent that hangs is restarted", func(t *testing.T) {
		m.run(t, "bash", "-ec", `echo 'pins: /sys/fs/bpf/cryptnono' >>/etc/cryptnono/config.yaml # for what follows
			mkdir -p /etc/systemd/system/cryptnono.service.d
			printf '[Service]\nWatchdogSec=1s\nTimeoutAbortSec=1s\nRestartSec=200ms\n' >/etc/systemd/system/cryptnono.service.d/test.conf
			systemctl --system daemon-reload
			systemctl --system restart cryptnono.service`)
		pid, err := strconv.Atoi(m.property(t, "MainPID"))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second) // two periods, in which a healthy one stays
		if got := m.property(t, "MainPID"); got != strconv.Itoa(pid) {
			t.Fatalf("process %d became %s in good health", pid, got)
		}
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		testutil.Eventually(t, "another process", func() bool {
			now := m.property(t, "MainPID")
			return now != "0" && now != strconv.Itoa(pid) && m.property(t, "ActiveState") == "active"
		})
		if !m.protected() {
			t.Error("the self-test lives")
		}
	})
	t.Run("pins protect while no agent is there", func(t *testing.T) {
		m.run(t, "systemctl", "--system", "stop", "cryptnono.service")
		if pid := m.property(t, "MainPID"); pid != "0" || !m.protected() {
			t.Errorf("after an orderly end, process %s, the self-test lives", pid)
		}
		m.run(t, "systemctl", "--system", "start", "cryptnono.service")
		lives := m.watch(t)
		pid, err := strconv.Atoi(m.property(t, "MainPID"))
		if err == nil {
			err = syscall.Kill(pid, syscall.SIGKILL)
		}
		if err != nil {
			t.Fatal(err)
		}
		testutil.Eventually(t, "another process", func() bool {
			now := m.property(t, "MainPID")
			return now != "0" && now != strconv.Itoa(pid) && m.property(t, "ActiveState") == "active"
		})
		if n := lives(); n > 0 {
			t.Errorf("the self-test has lived %d times", n)
		}
	})
	t.Run("an upgrade keeps settings and protects meanwhile", func(t *testing.T) {
		m.run(t, "bash", "-c", "echo '# mine' >>/etc/cryptnono/config.yaml")
		pid := m.property(t, "MainPID")
		lives := m.watch(t)
		m.run(t, "dpkg", "--install", pkg)
		if n := lives(); n > 0 {
			t.Errorf("the self-test has lived %d times", n)
		}
		if now := m.property(t, "MainPID"); now == pid || now == "0" {
			t.Errorf("process %s became %s", pid, now)
		}
		if !m.protected() {
			t.Error("the self-test lives")
		}
		m.run(t, "grep", "-qx", "# mine", "/etc/cryptnono/config.yaml")
	})
	t.Run("an upgrade does not start a disabled service", func(t *testing.T) {
		m.run(t, "systemctl", "--system", "disable", "--now", "cryptnono.service")
		m.run(t, "dpkg", "--install", pkg)
		if pid := m.property(t, "MainPID"); pid != "0" {
			t.Error("it runs again")
		}
		m.run(t, "systemctl", "--system", "enable", "--now", "cryptnono.service")
	})
	t.Run("with invalid settings it restarts until they are fixed", func(t *testing.T) {
		m.run(t, "bash", "-c", "echo 'actoin: kill' >>/etc/cryptnono/config.yaml")
		if out, ok := m.try("systemctl", "--system", "restart", "cryptnono.service"); ok {
			t.Errorf("started: %s", out)
		}
		if status := m.property(t, "ExecMainStatus"); status != "2" {
			t.Errorf("status %s", status)
		}
		m.run(t, "sed", "-i", "/actoin/d", "/etc/cryptnono/config.yaml")
		testutil.Eventually(t, "an agent at work", func() bool { return m.property(t, "ActiveState") == "active" })
	})
	t.Run("removal ends protection and leaves the settings", func(t *testing.T) {
		m.run(t, "test", "-d", "/sys/fs/bpf/cryptnono")
		m.run(t, "dpkg", "--remove", "cryptnono")
		m.run(t, "test", "!", "-e", "/sys/fs/bpf/cryptnono")
		if m.protected() {
			t.Error("the self-test dies")
		}
		m.run(t, "test", "-e", "/etc/cryptnono/config.yaml", "-a", "!", "-e", "/usr/bin/cryptnono")
	})
	t.Run("a purge leaves the files of the administrator", func(t *testing.T) {
		m.run(t, "dpkg", "--purge", "cryptnono")
		if left := m.run(t, "find", "/etc/cryptnono", "-type", "f"); left != "/etc/cryptnono/rules.d/more.yaml\n" {
			t.Errorf("left: %s", left)
		}
		if left := m.run(t, "find", "/etc/systemd/system", "/var/lib/systemd", "-name", "cryptnono.service"); left != "" {
			t.Errorf("left: %s", left)
		}
	})
}
