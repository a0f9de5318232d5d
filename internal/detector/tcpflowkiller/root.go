package tcpflowkiller

import (
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/host"
	"github.com/cryptnono/cryptnono/internal/kernelbtf"
)

// openRoot opens the root cgroup of the host.
func openRoot() (*os.File, error) {
	root, err := host.Cgroups()
	if errors.Is(err, host.ErrNoCgroups) {
		err = fmt.Errorf("%w: %w", err, detector.ErrUnsupported)
	}
	return root, err
}

// checkPrivilege returns an error if this process must not attach programs to a cgroup.
func checkPrivilege() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("reading this process's capabilities: %w", err)
	}
	if data[0].Effective&(1<<unix.CAP_NET_ADMIN) == 0 {
		return fmt.Errorf("CAP_NET_ADMIN is missing, without which connections cannot be refused: add it and restart (only restart if the detector was off at the start, because the agent dropped it then), or set %s.enabled to false: %w",
			Name, detector.ErrUnsupported)
	}
	return nil
}

// explained adds the cause of a refusal.
func explained(err error) error {
	if !errors.Is(err, unix.EPERM) {
		return err
	}
	return fmt.Errorf("%w: another program is attached there exclusively (bpftool cgroup show lists it), or a security module forbids it", err)
}

// killsInKernel reports whether programs of a cgroup can kill.
func killsInKernel() bool {
	types, err := kernelbtf.Cache.Kernel()
	if err != nil {
		return false
	}
	var f *btf.Func
	return types.TypeByName("bpf_send_signal_task", &f) == nil
}
