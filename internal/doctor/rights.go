package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/host"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/runtimes"
)

// A capability is a bit of a capability set.
type capability struct {
	bit     int
	name    string
	purpose string // completes "to ..."
}

// required returns the capabilities that the agent needs.
func required() []capability {
	return []capability{
		{unix.CAP_BPF, "CAP_BPF", "load programs into the kernel"},
		{unix.CAP_PERFMON, "CAP_PERFMON", "attach them to tracepoints and read kernel memory"},
		{unix.CAP_SYS_PTRACE, "CAP_SYS_PTRACE", "read other users' processes"},
		{unix.CAP_KILL, "CAP_KILL", "kill processes from user space"},
	}
}

func capabilities() (string, error) {
	have, err := effective()
	if err != nil {
		return "", err
	}
	return checkCapabilities(have)
}

func checkCapabilities(have uint64) (string, error) {
	var all, missing []string
	for _, c := range required() {
		all = append(all, c.name)
		if have&(1<<c.bit) == 0 {
			missing = append(missing, fmt.Sprintf("%s (to %s)", c.name, c.purpose))
		}
	}
	names := strings.Join(all, ", ")
	if len(missing) > 0 {
		return "", fmt.Errorf("%s missing: run as root, or with %s and CAP_DAC_READ_SEARCH", strings.Join(missing, ", "), names)
	}
	return names, nil
}

// othersFiles checks the capability that the agent can do without.
func othersFiles() (string, error) {
	have, err := effective()
	if err != nil {
		return "", err
	}
	if have&(1<<unix.CAP_DAC_READ_SEARCH|1<<unix.CAP_DAC_OVERRIDE) == 0 {
		return "", errors.New("CAP_DAC_READ_SEARCH is missing: of processes of other users that are older than the agent, some are evaluated by their path only, " +
			"and containers of some runtimes have no names")
	}
	return "readable", nil
}

// effective returns the effective capabilities: none outside of the initial user
// namespace, where they do not allow loading BPF programs.
func effective() (uint64, error) {
	if _, err := userNamespace(); err != nil {
		return 0, nil //nolint:nilerr // the check "user namespace" reports it
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return 0, fmt.Errorf("reading this process's capabilities: %w", err)
	}
	have := uint64(data[1].Effective)<<32 | uint64(data[0].Effective)
	if have&(1<<unix.CAP_SYS_ADMIN) != 0 { // includes both, which were split from it in Linux 5.8
		have |= 1<<unix.CAP_BPF | 1<<unix.CAP_PERFMON
	}
	return have, nil
}

// requires returns a check whose result is unknown without these capabilities.
func requires(run func() (string, error), bits ...int) func() (string, error) {
	return func() (string, error) {
		have, err := effective()
		if err != nil {
			return "", err
		}
		for _, c := range required() {
			if slices.Contains(bits, c.bit) && have&(1<<c.bit) == 0 {
				return "", fmt.Errorf("%w without %s", errUnknown, c.name)
			}
		}
		return run()
	}
}

// loading returns a check that loads a BPF program or map.
func loading(run func() (string, error)) func() (string, error) {
	return requires(func() (string, error) {
		text, err := run()
		return text, refused(err)
	}, unix.CAP_BPF, unix.CAP_PERFMON)
}

func userNamespace() (string, error) {
	link, err := os.Readlink("/proc/self/ns/user")
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "this kernel has only one", nil
	case err != nil:
		return "", fmt.Errorf("reading /proc: %w", err)
	case link != "user:[4026531837]": // PROC_USER_INIT_INO in linux/proc_ns.h
		return "", errors.New("not the initial user namespace, where capabilities do not allow loading BPF programs: run in the initial one (hostUsers: true in a pod)")
	}
	return "the initial one", nil
}

func pidNamespace() (string, error) {
	return "the initial one", process.Supported()
}

// timeNamespace checks for the initial time namespace: in another one, start times in
// /proc differ from those in BPF events by its offset.
func timeNamespace() (string, error) {
	link, err := os.Readlink("/proc/self/ns/time")
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "this kernel has only one", nil
	case err != nil:
		return "", fmt.Errorf("reading /proc: %w", err)
	case link != "time:[4026531834]": // PROC_TIME_INIT_INO in linux/proc_ns.h
		return "", errors.New("not the initial time namespace, so start times differ from those in BPF events: run in the initial one")
	}
	return "the initial one", nil
}

// otherProcesses reads the program of the nearest ancestor that runs another one than this process. In a
// container that is a process of the host, which a security module may protect.
func otherProcesses() (string, error) {
	own, err := os.Readlink("/proc/self/exe")
	for pid, link := os.Getppid(), own; err == nil && link == own && pid > 0; {
		if link, err = os.Readlink(process.Dir(pid) + "/exe"); err == nil {
			pid, err = process.Parent(pid)
		}
	}
	if errors.Is(err, fs.ErrPermission) {
		return "", errors.New("cannot be read in spite of CAP_SYS_PTRACE: run without AppArmor or SELinux confinement")
	}
	return "can be read", nil
}

// findRuntimes searches for the default sockets of container runtimes.
func findRuntimes() (string, error) {
	root, err := host.Root()
	if err != nil {
		return "", fmt.Errorf("%w; container runtimes cannot be reached: run without AppArmor or SELinux confinement", err)
	}
	defer root.Close()
	all := slices.Concat(runtimes.DefaultSockets(), runtimes.DefaultNestedSockets())
	found := runtimes.Found(fmt.Sprintf("/proc/self/fd/%d", root.Fd()), all)
	if len(found) == 0 {
		return "none found at the default paths (fine without containers; the log names none)", nil
	}
	return strings.Join(found, ", "), nil
}
