//go:build linux

package main

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// prepare changes the environment of one program, and executes it:
//
//	with-swap PROGRAM ARG...     swap is enabled until the end of the step
//	without-btf PROGRAM ARG...   the BTF of the kernel is hidden
//	old-release PROGRAM ARG...   uname reports Linux 2.6
//
// It returns only if that fails.
func prepare(args []string) error {
	if len(args) < 2 {
		return fmt.Errorf("usage: guest with-swap|without-btf|old-release PROGRAM [ARG...]")
	}
	runtime.LockOSThread() // the changes apply to one thread, which must be the one that executes
	switch args[0] {
	case "with-swap":
		if err := swapOn(); err != nil {
			return err
		}
	case "without-btf":
		if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
			return fmt.Errorf("making a mount namespace: %w", err)
		}
		if err := unix.Mount("tmpfs", "/sys/kernel/btf", "tmpfs", 0, ""); err != nil {
			return fmt.Errorf("hiding the BTF: %w", err)
		}
	case "old-release":
		const uname26 = 0x0020000 // UNAME26 in linux/personality.h
		if _, _, errno := unix.Syscall(unix.SYS_PERSONALITY, uname26, 0, 0); errno != 0 {
			return fmt.Errorf("setting the personality: %w", errno)
		}
	default:
		return fmt.Errorf("unknown preparation %q", args[0])
	}
	return unix.Exec(args[1], args[1:], os.Environ())
}
