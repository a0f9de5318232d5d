package doctor

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/features"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/kernelbtf"
)

func kernel() (string, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", fmt.Errorf("reading the kernel's release: %w", err)
	}
	return checkRelease(unix.ByteSliceToString(u.Release[:]))
}

// checkRelease compares a release with the oldest kernel that the agent is tested on.
func checkRelease(release string) (string, error) {
	var major, minor int
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err != nil {
		return "", fmt.Errorf("release %q has no version", release)
	}
	if major < 5 || major == 5 && minor < 10 {
		return "", fmt.Errorf("release %s is too old: Linux 5.10 or later is needed", release)
	}
	return "Linux " + release + " on " + runtime.GOARCH, nil
}

func kernelTypes() (string, error) {
	const file = "/sys/kernel/btf/vmlinux"
	if _, err := os.Stat(file); err != nil {
		return "", errors.New(file + " is missing: use a kernel built with CONFIG_DEBUG_INFO_BTF=y, as all large distributions have")
	}
	return file, nil
}

func lockdown() (string, error) {
	modes, err := os.ReadFile("/sys/kernel/security/lockdown")
	if err != nil { // most containers have no securityfs
		return loading(readKernel)()
	}
	return checkLockdown(string(modes))
}

var errLockdown = errors.New("confidentiality, where BPF programs cannot read kernel memory: boot with lockdown=integrity")

// checkLockdown parses a list of modes, with the active one in brackets.
func checkLockdown(modes string) (string, error) {
	_, mode, _ := strings.Cut(modes, "[")
	mode, _, found := strings.Cut(mode, "]")
	if !found {
		return "", fmt.Errorf("%w: no mode in %q", errUnknown, modes)
	}
	if mode == "confidentiality" {
		return "", errLockdown
	}
	return mode, nil
}

// readKernel detects the mode confidentiality from what it forbids.
func readKernel() (string, error) {
	err := features.HaveProgramHelper(ebpf.RawTracepoint, asm.FnProbeReadKernel)
	if errors.Is(err, ebpf.ErrNotSupported) {
		return "", errLockdown
	}
	return "BPF programs can read kernel memory", err
}

// lockedMemory removes the limit where it applies to BPF, as the agent does.
func lockedMemory() (string, error) {
	if err := rlimit.RemoveMemlock(); err != nil {
		return "", fmt.Errorf("before Linux 5.11 the limit applies to BPF: %w: add CAP_SYS_RESOURCE, or ulimit -l unlimited", err)
	}
	return "not limited for BPF", nil
}

func execTracepoint() (string, error) {
	types, err := kernelbtf.Cache.Kernel()
	if err != nil {
		return "", fmt.Errorf("%w without BTF", errUnknown)
	}
	var t *btf.Typedef
	if err := types.TypeByName("btf_trace_sched_process_exec", &t); err != nil {
		return "", errors.New("sched_process_exec is missing: use a kernel built with CONFIG_TRACEPOINTS=y")
	}
	return "sched_process_exec", nil
}

func ringBuffer() (string, error) {
	if err := features.HaveMapType(ebpf.RingBuf); err != nil {
		return "", fmt.Errorf("creating a ring buffer: %w", err)
	}
	return "can be created", nil
}

func sendSignal() (string, error) {
	// The agent loads tracing programs, which have the helpers of raw tracepoints.
	if err := features.HaveProgramHelper(ebpf.RawTracepoint, asm.FnSendSignal); err != nil {
		return "", fmt.Errorf("probing bpf_send_signal: %w", err)
	}
	return "by bpf_send_signal", nil
}

// jit loads a program and checks that it was compiled: a container's network namespace
// does not show the sysctl net.core.bpf_jit_enable.
func jit() (string, error) {
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type:         ebpf.SocketFilter,
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
	})
	if err != nil {
		return "", fmt.Errorf("loading a program: %w", err)
	}
	defer p.Close()
	info, err := p.Info()
	if err != nil {
		return "", fmt.Errorf("reading the program's info: %w", err)
	}
	if _, err := info.JitedSize(); err != nil {
		return "", errors.New("off, which makes each exec slower: sysctl net.core.bpf_jit_enable=1")
	}
	return "on", nil
}

func cgroups() (string, error) {
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", fmt.Errorf("%w: %w", errUnknown, err)
	}
	return checkCgroups(string(own))
}

// checkCgroups parses /proc/PID/cgroup, which has one line per hierarchy. That of v2 has
// the number 0 and exists once v2 was mounted.
func checkCgroups(own string) (string, error) {
	all := strings.Count(own, "\n")
	v2 := strings.Contains("\n"+own, "\n0::")
	switch {
	case all == 0:
		return "", errors.New("none, so the log cannot name the container of a process")
	case !v2:
		return "v1", nil
	case all == 1:
		return "v2", nil
	}
	return "v1 and v2", nil
}

func unprivilegedBPF() (string, error) {
	disabled, err := os.ReadFile("/proc/sys/kernel/unprivileged_bpf_disabled")
	if err != nil {
		return "", fmt.Errorf("%w: %w", errUnknown, err)
	}
	if strings.TrimSpace(string(disabled)) == "0" {
		return "on: any user can load some programs; sysctl kernel.unprivileged_bpf_disabled=2 forbids it", nil
	}
	return "off", nil
}
