package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/container"
	"github.com/cryptnono/cryptnono/internal/host"
	"github.com/cryptnono/cryptnono/internal/process"
)

// A capability is a bit in our sets, and what it is for.
type capability struct {
	bit  int
	name string
	to   string
}

// needed are all capabilities that the agent needs, whichever user it runs as.
func needed() []capability {
	return []capability{
		{unix.CAP_BPF, "CAP_BPF", "load programs into the kernel"},
		{unix.CAP_PERFMON, "CAP_PERFMON", "attach them to tracepoints and read kernel memory"},
		{unix.CAP_SYS_PTRACE, "CAP_SYS_PTRACE", "see what other users' processes run"},
		{unix.CAP_KILL, "CAP_KILL", "kill those that the kernel leaves to the agent"},
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
	for _, c := range needed() {
		all = append(all, c.name)
		if have&(1<<c.bit) == 0 {
			missing = append(missing, fmt.Sprintf("%s (to %s)", c.name, c.to))
		}
	}
	names := strings.Join(all, ", ")
	if len(missing) > 0 {
		return "", fmt.Errorf("%s missing: run as root, or with %s", strings.Join(missing, ", "), names)
	}
	return names, nil
}

// effective returns the capabilities in force. There are none in a user namespace
// other than the initial one, where they count for nothing that the agent does.
func effective() (uint64, error) {
	if _, err := userNamespace(); err != nil {
		return 0, nil //nolint:nilerr // a check of its own says so
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return 0, fmt.Errorf("asking for our capabilities: %w", err)
	}
	have := uint64(data[1].Effective)<<32 | uint64(data[0].Effective)
	if have&(1<<unix.CAP_SYS_ADMIN) != 0 { // these two were split from it in Linux 5.8
		have |= 1<<unix.CAP_BPF | 1<<unix.CAP_PERFMON
	}
	return have, nil
}

// with returns a check that can say nothing without some capabilities.
func with(look func() (string, error), bits ...int) func() (string, error) {
	return func() (string, error) {
		have, err := effective()
		if err != nil {
			return "", err
		}
		for _, c := range needed() {
			if slices.Contains(bits, c.bit) && have&(1<<c.bit) == 0 {
				return "", fmt.Errorf("%w without %s", errUnknown, c.name)
			}
		}
		return look()
	}
}

// loading returns a check that loads something into the kernel.
func loading(look func() (string, error)) func() (string, error) {
	return with(func() (string, error) {
		text, err := look()
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
		return "", errors.New("not the initial one, so no capability counts: run outside of it (hostUsers: true in a pod)")
	}
	return "the initial one", nil
}

func pidNamespace() (string, error) {
	return "the initial one", process.Supported()
}

// timeNamespace asks for the one in which /proc gives start times as the kernel's
// events do: in any other they are shifted by its offset.
func timeNamespace() (string, error) {
	link, err := os.Readlink("/proc/self/ns/time")
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "this kernel has only one", nil
	case err != nil:
		return "", fmt.Errorf("reading /proc: %w", err)
	case link != "time:[4026531834]": // PROC_TIME_INIT_INO in linux/proc_ns.h
		return "", errors.New("not the initial one, so start times differ from the kernel's: run outside of it")
	}
	return "the initial one", nil
}

// otherProcesses reads what our parent runs. In a container that is one from
// outside, which a security module may keep from us.
func otherProcesses() (string, error) {
	_, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", os.Getppid()))
	if errors.Is(err, fs.ErrPermission) {
		return "", errors.New("some cannot be read in spite of CAP_SYS_PTRACE: run without AppArmor or SELinux confinement")
	}
	return "can be read", nil
}

// runtimes looks for the sockets by which containers are named.
func runtimes() (string, error) {
	root, err := host.Root()
	if err != nil {
		return "", fmt.Errorf("%w; container runtimes cannot be asked: run without AppArmor or SELinux confinement", err)
	}
	defer root.Close()
	all := slices.Concat(container.DefaultSockets(), container.DefaultNestedSockets())
	found := container.Found(fmt.Sprintf("/proc/self/fd/%d", root.Fd()), all)
	if len(found) == 0 {
		return "none at the usual paths, so the log names no containers, if there are any", nil
	}
	return strings.Join(found, ", "), nil
}
