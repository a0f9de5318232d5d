package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/process"
)

const (
	btfFile      = "/sys/kernel/btf/vmlinux"
	lockdownFile = "/sys/kernel/security/lockdown"
	jitFile      = "/proc/sys/net/core/bpf_jit_enable"
)

// The oldest kernel that the agent is tested on.
const minMajor, minMinor = 5, 10

func kernel() (string, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", fmt.Errorf("asking for the kernel's release: %w", err)
	}
	return checkRelease(unix.ByteSliceToString(u.Release[:]))
}

func checkRelease(release string) (string, error) {
	var major, minor int
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err != nil {
		return "", fmt.Errorf("release %q has no version", release)
	}
	if major < minMajor || major == minMajor && minor < minMinor {
		return "", fmt.Errorf("release %s is too old: Linux %d.%d or later is needed", release, minMajor, minMinor)
	}
	return "Linux " + release + " " + runtime.GOARCH, nil
}

func kernelTypes() (string, error) {
	if _, err := os.Stat(btfFile); err != nil {
		return "", errors.New("the kernel has no type information (" + btfFile + "): use one built with CONFIG_DEBUG_INFO_BTF=y, as all large distributions do")
	}
	return btfFile, nil
}

// A capability is a bit in our sets, and what it is for.
type capability struct {
	bit    int
	name   string
	reason string
}

// needed are the capabilities that the programs in the kernel need.
func needed() []capability {
	return []capability{
		{unix.CAP_BPF, "CAP_BPF", "load programs into the kernel"},
		{unix.CAP_PERFMON, "CAP_PERFMON", "attach them to tracepoints and read kernel memory"},
	}
}

// wanted are those that user space needs for processes of other users.
func wanted() []capability {
	return []capability{
		{unix.CAP_SYS_PTRACE, "CAP_SYS_PTRACE", "read the program and memory map of others' processes"},
		{unix.CAP_KILL, "CAP_KILL", "kill others' processes that the kernel did not kill"},
	}
}

func capabilities() (string, error) {
	have, err := effective()
	if err != nil {
		return "", err
	}
	// CAP_SYS_ADMIN stands for both, as before Linux 5.8.
	if have&(1<<unix.CAP_SYS_ADMIN) != 0 {
		return "CAP_SYS_ADMIN", nil
	}
	return checkCapabilities(have, needed())
}

func optionalCapabilities() (string, error) {
	have, err := effective()
	if err != nil {
		return "", err
	}
	return checkCapabilities(have, wanted())
}

func effective() (uint64, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return 0, fmt.Errorf("asking for our capabilities: %w", err)
	}
	return uint64(data[1].Effective)<<32 | uint64(data[0].Effective), nil
}

func checkCapabilities(have uint64, want []capability) (string, error) {
	var names, missing []string
	for _, c := range want {
		names = append(names, c.name)
		if have&(1<<c.bit) == 0 {
			missing = append(missing, fmt.Sprintf("%s (to %s)", c.name, c.reason))
		}
	}
	if len(missing) > 0 {
		return "", fmt.Errorf("root or the capabilities %s are needed", strings.Join(missing, " and "))
	}
	return strings.Join(names, ", "), nil
}

func processes() (string, error) {
	if err := process.Supported(); err != nil {
		return "", err
	}
	return "/proc and pidfds of the initial PID namespace", nil
}

func lockdown() (string, error) {
	modes, err := os.ReadFile(lockdownFile)
	if errors.Is(err, fs.ErrNotExist) {
		return "not in use", nil
	}
	if err != nil {
		return unknown(err)
	}
	return checkLockdown(string(modes))
}

// checkLockdown judges a list of modes, with the one in force in brackets.
func checkLockdown(modes string) (string, error) {
	if strings.Contains(modes, "[confidentiality]") {
		return "", errors.New("mode confidentiality keeps programs from reading kernel memory: boot with lockdown=integrity")
	}
	return strings.TrimSpace(modes), nil
}

// unknown is for what a machine does not tell us, which is no fault.
func unknown(err error) (string, error) {
	return "cannot be told: " + err.Error(), nil
}

func jit() (string, error) {
	text, err := os.ReadFile(jitFile)
	if err != nil {
		return unknown(err)
	}
	return checkJIT(strings.TrimSpace(string(text)))
}

func checkJIT(enabled string) (string, error) {
	if n, err := strconv.Atoi(enabled); err == nil && n == 0 {
		return "", errors.New("off, which makes each exec ten times as slow to judge: sysctl net.core.bpf_jit_enable=1")
	}
	return "on", nil
}
