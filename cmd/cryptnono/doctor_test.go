package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/cilium/ebpf/features"
	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

const (
	allMissing = "CAP_BPF (to load programs into the kernel), CAP_PERFMON (to attach them to tracepoints and read kernel memory), " +
		"CAP_SYS_PTRACE (to see what other users' processes run), CAP_KILL (to kill those that the kernel leaves to the agent) missing: " +
		"run as root, or with CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE, CAP_KILL"
	otherTimeNamespace = "not the initial one, so start times differ from the kernel's: run outside of it"
	otherUserNamespace = "not the initial one, so no capability counts: run outside of it (hostUsers: true in a pod)"
)

// as starts the program, which this test is too, with the rights of attr. It
// returns what it wrote to standard output and to standard error, and its status.
func as(t *testing.T, attr *syscall.SysProcAttr, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	var out, log bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe") // nobody may enter the folder that it is in
	cmd.Args = append([]string{"cryptnono"}, args...)
	cmd.SysProcAttr, cmd.Stdout, cmd.Stderr = attr, &out, &log
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), log.String(), cmd.ProcessState.ExitCode()
}

func nobody(capabilities ...uintptr) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}, AmbientCaps: capabilities}
}

func ownUserNamespace() *syscall.SysProcAttr {
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}}
	return &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids}
}

// needTimeNamespaces skips a test of a program that is started in one, which takes effect
// at exec from Linux 6.1 on.
func needTimeNamespaces(t *testing.T, attr *syscall.SysProcAttr) {
	t.Helper()
	if attr == nil || attr.Unshareflags&unix.CLONE_NEWTIME == 0 {
		return
	}
	if version, err := features.LinuxVersionCode(); err != nil || version < 6<<16|3<<8 {
		t.Skipf("Linux %#x: %v", version, err)
	}
}

func TestDoctor(t *testing.T) {
	testutil.Privileged(t)
	line := func(verdict, check, text string) string { return fmt.Sprintf("%-4s  %-16s  %s", verdict, check, text) }
	unknown := []string{
		line("?", "other processes", "unknown without CAP_SYS_PTRACE"),
		line("?", "locked memory", "unknown without CAP_BPF"),
		line("?", "ring buffer", "unknown without CAP_BPF"),
		line("?", "kernel kills", "unknown without CAP_BPF"),
		line("?", "JIT compiler", "unknown without CAP_BPF"),
		line("?", "runtimes", "unknown without CAP_SYS_PTRACE"),
		line("?", "exemptions", "unknown without CAP_BPF"),
		line("?", "execwhacker", "unknown without CAP_BPF"),
		line("?", "monero", "unknown without CAP_BPF"),
	}
	tests := []struct {
		name  string
		attr  *syscall.SysProcAttr
		lines []string // all of "FAIL" and "?"
		log   string
	}{
		{"root", nil, nil, ""},
		{
			"a user with the capabilities that are named",
			nobody(unix.CAP_BPF, unix.CAP_PERFMON, unix.CAP_SYS_PTRACE, unix.CAP_KILL), nil, "",
		},
		{
			"a user without any",
			nobody(),
			append([]string{line("FAIL", "capabilities", allMissing)}, unknown...),
			"cryptnono: 1 of 19 checks failed\n",
		},
		{
			"a user who may do all but kill",
			nobody(unix.CAP_BPF, unix.CAP_PERFMON, unix.CAP_SYS_PTRACE),
			[]string{line("FAIL", "capabilities", "CAP_KILL (to kill those that the kernel leaves to the agent) missing: "+
				"run as root, or with CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE, CAP_KILL")},
			"cryptnono: 1 of 19 checks failed\n",
		},
		{
			"root of another PID namespace",
			&syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID},
			[]string{line("FAIL", "PID namespace", "the PID namespace is not the initial one (hostPID in a pod)")},
			"cryptnono: 1 of 19 checks failed\n",
		},
		{
			"root of another time namespace",
			&syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWTIME},
			[]string{line("FAIL", "time namespace", otherTimeNamespace)},
			"cryptnono: 1 of 19 checks failed\n",
		},
		{
			"root of another user namespace",
			ownUserNamespace(),
			append([]string{line("FAIL", "user namespace", otherUserNamespace), line("FAIL", "capabilities", allMissing)}, unknown...),
			"cryptnono: 2 of 19 checks failed\n",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			needTimeNamespaces(t, tt.attr)
			out, log, status := as(t, tt.attr, "doctor")
			var lines []string
			for line := range strings.Lines(out) {
				// Without rights, lockdown is known only where securityfs is mounted.
				if strings.HasPrefix(line, "FAIL") || strings.HasPrefix(line, "?") && !strings.Contains(line, "  lockdown  ") {
					lines = append(lines, strings.TrimSuffix(line, "\n"))
				}
			}
			want := exitOK
			if tt.log != "" {
				want = exitFailed
			}
			if strings.Join(lines, "\n") != strings.Join(tt.lines, "\n") || log != tt.log || status != want {
				t.Errorf("exit status %d, want %d\n%s%s\nwant\n%s\n%s", status, want, out, log, strings.Join(tt.lines, "\n"), tt.log)
			}
		})
	}
}

func TestRunSaysInOneSentenceWhatItLacks(t *testing.T) {
	testutil.Privileged(t)
	tests := []struct {
		name string
		attr *syscall.SysProcAttr
		want string
	}{
		{"a user without capabilities", nobody(), "cryptnono: capabilities: " + allMissing + "; `cryptnono doctor` says more\n"},
		{
			"a user who may not kill", nobody(unix.CAP_BPF, unix.CAP_PERFMON, unix.CAP_SYS_PTRACE),
			"cryptnono: capabilities: CAP_KILL (to kill those that the kernel leaves to the agent) missing: " +
				"run as root, or with CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE, CAP_KILL; `cryptnono doctor` says more\n",
		},
		{
			"root of another PID namespace", &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID},
			"cryptnono: PID namespace: the PID namespace is not the initial one (hostPID in a pod); `cryptnono doctor` says more\n",
		},
		{
			"root of another time namespace", &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWTIME},
			"cryptnono: time namespace: " + otherTimeNamespace + "; `cryptnono doctor` says more\n",
		},
		{"root of another user namespace", ownUserNamespace(), "cryptnono: user namespace: " + otherUserNamespace + "; `cryptnono doctor` says more\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			needTimeNamespaces(t, tt.attr)
			out, log, status := as(t, tt.attr, "run", "--action", "observe", "--scan-interval", "0")
			if out != "" || log != tt.want || status != exitFailed {
				t.Errorf("exit status %d\n%s%s\nwant\n%s", status, out, log, tt.want)
			}
		})
	}
}

func TestDoctorChecksSettingsAndRules(t *testing.T) {
	testutil.Privileged(t)
	tests := []struct {
		name, settings string
		want           string // the line
		status         int
	}{
		{"ordinary settings", "exemptions: {namespaces: [kube-system]}", `ok    settings          \d+ bans and \d+ allow patterns`, exitOK},
		{
			"settings that may be meant", "exemptions: {cgroups: [/user.slice]}",
			`warn  settings          \S+:1: exemptions\.cgroups\[0\]: "/user\.slice" exempts the sessions of users: .*`, exitOK,
		},
		{
			"settings that nobody can mean", "exemptions: {cgroups: [/*]}",
			`FAIL  settings          \S+:1: exemptions\.cgroups\[0\]: "/\*" exempts the containers of pods, .*`, exitFailed,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "settings.yaml")
			if err := os.WriteFile(file, []byte(tt.settings), 0o600); err != nil {
				t.Fatal(err)
			}
			out, _, status := as(t, nil, "doctor", "--config", file)
			if status != tt.status || !regexp.MustCompile(`(?m)^`+tt.want+`$`).MatchString(out) {
				t.Errorf("exit status %d\n%s\nwant %d, %s", status, out, tt.status, tt.want)
			}
		})
	}
}
