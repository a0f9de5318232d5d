//go:build !race

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
		"CAP_SYS_PTRACE (to read other users' processes), CAP_KILL (to kill processes from user space) missing: " +
		"run as root, or with CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE, CAP_KILL and CAP_DAC_READ_SEARCH"
	otherPIDNamespace  = "the PID namespace is not the initial one (hostPID in a pod)"
	otherTimeNamespace = "not the initial time namespace, so start times differ from those in BPF events: run in the initial one"
	otherUserNamespace = "not the initial user namespace, where capabilities do not allow loading BPF programs: run in the initial one (hostUsers: true in a pod)"
)

// runAs runs cryptnono, which this test binary contains, with attr. It returns its output
// and exit status.
func runAs(t *testing.T, attr *syscall.SysProcAttr, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	var out, log bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe") // other users cannot enter the binary's directory
	cmd.Args = append([]string{"cryptnono"}, args...)
	cmd.SysProcAttr, cmd.Stdout, cmd.Stderr = attr, &out, &log
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), log.String(), cmd.ProcessState.ExitCode()
}

// unprivileged returns a user without rights except for some capabilities.
func unprivileged(capabilities ...uintptr) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}, AmbientCaps: capabilities}
}

func ownUserNamespace() *syscall.SysProcAttr {
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}}
	return &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids}
}

// needTimeNamespaces skips a test that runs a program in a new time namespace, which
// exec enters from Linux 6.3 on.
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
		line("?", "others' files", "unknown without CAP_SYS_PTRACE"),
		line("?", "locked memory", "unknown without CAP_BPF"),
		line("?", "ring buffer", "unknown without CAP_BPF"),
		line("?", "kernel kills", "unknown without CAP_BPF"),
		line("?", "JIT compiler", "unknown without CAP_BPF"),
		line("?", "runtimes", "unknown without CAP_SYS_PTRACE"),
		line("?", "exemptions", "unknown without CAP_BPF"),
		line("?", "execwhacker", "unknown without CAP_BPF"),
		line("?", "monero", "unknown without CAP_BPF"),
		line("?", "tcpflowkiller", "unknown without CAP_BPF"),
		line("?", "hashwork", "unknown without CAP_BPF"),
	}
	tests := []struct {
		name  string
		attr  *syscall.SysProcAttr
		lines []string // all of "FAIL" and "?"
		log   string
	}{
		{"root", nil, nil, ""},
		{
			"a user with the required capabilities",
			unprivileged(unix.CAP_BPF, unix.CAP_PERFMON, unix.CAP_SYS_PTRACE, unix.CAP_KILL, unix.CAP_NET_ADMIN), nil, "",
		},
		{
			"a user without capabilities",
			unprivileged(),
			append([]string{line("FAIL", "capabilities", allMissing)}, unknown...),
			"cryptnono: 1 of 23 checks failed\n",
		},
		{
			"a user without CAP_KILL",
			unprivileged(unix.CAP_BPF, unix.CAP_PERFMON, unix.CAP_SYS_PTRACE),
			[]string{line("FAIL", "capabilities", "CAP_KILL (to kill processes from user space) missing: "+
				"run as root, or with CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE, CAP_KILL and CAP_DAC_READ_SEARCH")},
			"cryptnono: 1 of 23 checks failed\n",
		},
		{
			"root of another PID namespace",
			&syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID},
			[]string{line("FAIL", "PID namespace", otherPIDNamespace)},
			"cryptnono: 1 of 23 checks failed\n",
		},
		{
			"root of another time namespace",
			&syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWTIME},
			[]string{line("FAIL", "time namespace", otherTimeNamespace)},
			"cryptnono: 1 of 23 checks failed\n",
		},
		{
			"root of another user namespace",
			ownUserNamespace(),
			append([]string{line("FAIL", "user namespace", otherUserNamespace), line("FAIL", "capabilities", allMissing)}, unknown...),
			"cryptnono: 2 of 23 checks failed\n",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			needTimeNamespaces(t, tt.attr)
			out, log, status := runAs(t, tt.attr, "doctor")
			var lines []string
			for line := range strings.Lines(out) {
				// Without capabilities, lockdown is known only if securityfs is mounted.
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

func TestRunNamesTheFirstFailedCheckInOneSentence(t *testing.T) {
	testutil.Privileged(t)
	tests := []struct {
		name string
		attr *syscall.SysProcAttr
		want string
	}{
		{"a user without capabilities", unprivileged(), "cryptnono: capabilities: " + allMissing + "; for details run `cryptnono doctor`\n"},
		{
			"a user without CAP_KILL", unprivileged(unix.CAP_BPF, unix.CAP_PERFMON, unix.CAP_SYS_PTRACE),
			"cryptnono: capabilities: CAP_KILL (to kill processes from user space) missing: " +
				"run as root, or with CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE, CAP_KILL and CAP_DAC_READ_SEARCH; for details run `cryptnono doctor`\n",
		},
		{
			"root of another PID namespace", &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID},
			"cryptnono: PID namespace: " + otherPIDNamespace + "; for details run `cryptnono doctor`\n",
		},
		{
			"root of another time namespace", &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWTIME},
			"cryptnono: time namespace: " + otherTimeNamespace + "; for details run `cryptnono doctor`\n",
		},
		{"root of another user namespace", ownUserNamespace(), "cryptnono: user namespace: " + otherUserNamespace + "; for details run `cryptnono doctor`\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			needTimeNamespaces(t, tt.attr)
			out, log, status := runAs(t, tt.attr, "run", "--action", "observe", "--scan-interval", "0")
			report, isLast := strings.CutSuffix(log, tt.want)
			if out != "" || !isLast || !strings.Contains(report, "\nFAIL  ") || !strings.HasPrefix(report, "ok    kernel ") || status != exitFailed {
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
		{"ordinary settings", "exemptions: {namespaces: [kube-system]}", `ok    settings          \d+ bans, 0 banned addresses, 0 banned names and \d+ allow patterns`, exitOK},
		{
			"a detector that is off, and those beside it", "tcpflowkiller: {enabled: false}",
			`ok    execwhacker       loads in .*\n(?s:.*\n)?off   tcpflowkiller     by the settings`, exitOK,
		},
		{
			"settings with a warning", "exemptions: {cgroups: [/user.slice]}",
			`warn  settings          \S+:1: exemptions\.cgroups\[0\]: "/user\.slice" exempts the sessions of users: .*`, exitOK,
		},
		{
			"refused settings", "exemptions: {cgroups: [/*]}",
			`FAIL  settings          \S+:1: exemptions\.cgroups\[0\]: "/\*" exempts the containers of pods, .*`, exitFailed,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "settings.yaml")
			if err := os.WriteFile(file, []byte(tt.settings), 0o600); err != nil {
				t.Fatal(err)
			}
			out, _, status := runAs(t, nil, "doctor", "--config", file)
			if status != tt.status || !regexp.MustCompile(`(?m)^`+tt.want+`$`).MatchString(out) {
				t.Errorf("exit status %d\n%s\nwant %d, %s", status, out, tt.status, tt.want)
			}
		})
	}
}

func TestDoctorNamesWhatTcpflowkillerLacks(t *testing.T) {
	testutil.Privileged(t)
	attr := unprivileged(unix.CAP_BPF, unix.CAP_PERFMON, unix.CAP_SYS_PTRACE, unix.CAP_KILL)
	needTimeNamespaces(t, attr)
	out, _, status := runAs(t, attr, "doctor")
	if !strings.Contains(out, "warn  tcpflowkiller     CAP_NET_ADMIN is missing, without which connections cannot be refused: ") || status != exitOK {
		t.Errorf("exit status %d\n%s", status, out)
	}
}
