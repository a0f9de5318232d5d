//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// cgroups is where those of the steps are.
const cgroups = "/sys/fs/cgroup"

// setUp makes of the bare kernel what programs expect of a machine.
func setUp() error {
	for _, m := range []struct{ kind, dir string }{
		{"proc", "/proc"},
		{"sysfs", "/sys"},
		{"devtmpfs", "/dev"},
		{"tmpfs", "/tmp"},
		{"tmpfs", "/run"},
		{"securityfs", "/sys/kernel/security"},
		{"bpf", "/sys/fs/bpf"},
		{"cgroup2", cgroups},
		{"tmpfs", "/dev/shm"},
	} {
		if err := os.MkdirAll(m.dir, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.kind, m.dir, m.kind, 0, ""); err != nil {
			return fmt.Errorf("mounting %s: %w", m.dir, err)
		}
	}
	return errors.Join(
		os.Chmod("/tmp", 0o1777),
		os.Symlink("/proc/self/fd", "/dev/fd"), // execveat needs it where TOMOYO is built in
		loopbackUp(),
		swapOn(),
	)
}

func loopbackUp() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening a socket for the loopback device: %w", err)
	}
	defer unix.Close(s)
	device, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	device.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, device); err != nil {
		return fmt.Errorf("starting the loopback device: %w", err)
	}
	return nil
}

// swapOn waits for the disk of the guest, which is for swap, and uses it.
func swapOn() error {
	disk, err := unix.BytePtrFromString("/dev/nvme0n1")
	if err != nil {
		return err
	}
	for range 1000 {
		_, _, errno := unix.Syscall(unix.SYS_SWAPON, uintptr(unsafe.Pointer(disk)), 0, 0)
		if errno == 0 {
			return nil
		}
		err = errno
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("using the disk for swap: %w", err)
}
