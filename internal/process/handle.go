package process

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A Handle refers to one process, also if its pid is reused. It is not safe for concurrent
// use, and has a file descriptor until it is closed.
type Handle struct {
	pid, fd      int
	start        time.Duration
	kernelThread bool
}

// Open returns a handle of the process that has this pid now, or ErrGone.
func Open(pid int) (*Handle, error) {
	h, err := open(pid)
	if err != nil {
		return nil, fmt.Errorf("opening process %d: %w", pid, err)
	}
	return h, nil
}

func open(pid int) (*Handle, error) {
	if pid <= 0 {
		return nil, ErrGone
	}
	fd, err := unix.PidfdOpen(pid, 0)
	switch {
	case errors.Is(err, unix.ESRCH),
		// The number is that of a thread, a process group or a session: EINVAL, or
		// ENOENT in newer kernels.
		errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT):
		return nil, ErrGone
	case err != nil:
		return nil, err
	}
	h := &Handle{pid: pid, fd: fd}
	s, err := readStat(Dir(pid))
	if gone := h.Alive(); gone != nil {
		err = gone
	}
	if err != nil {
		h.Close()
		return nil, err
	}
	h.start, h.kernelThread = s.start, s.kernelThread
	return h, nil
}

// PID returns the pid of the process.
func (h *Handle) PID() int { return h.pid }

// Start returns the start time of the process, since boot, in whole clock ticks.
func (h *Handle) Start() time.Duration { return h.start }

// Alive returns nil while the process runs, then ErrGone. If it returns nil, data that was
// read by pid before is of this process, because its pid was not reused.
func (h *Handle) Alive() error {
	for {
		// A pidfd is readable after the last thread has exited.
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(h.fd), Events: unix.POLLIN}}, 0)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return fmt.Errorf("polling the pidfd: %w", err)
		case n > 0:
			return ErrGone
		default:
			return nil
		}
	}
}

// Protected returns an error that wraps ErrProtected, with the reason, for the init
// process, kernel threads and the agent itself, and nil for all others.
func (h *Handle) Protected() error {
	switch {
	case h.pid == 1:
		return fmt.Errorf("%w: the init process", ErrProtected)
	case h.pid == os.Getpid():
		return fmt.Errorf("%w: the agent itself", ErrProtected)
	case h.kernelThread:
		// Some accept SIGKILL, such as those of the NFS server.
		return fmt.Errorf("%w: a kernel thread", ErrProtected)
	}
	return nil
}

// Kill sends SIGKILL to the process, unless it is Protected. It does not wait for the end
// of the process. It returns ErrGone if the process has already ended.
func (h *Handle) Kill() error {
	err := h.Protected()
	if err == nil {
		err = h.Alive()
	}
	if err == nil {
		err = unix.PidfdSendSignal(h.fd, unix.SIGKILL, nil, 0)
	}
	if errors.Is(err, unix.ESRCH) {
		err = ErrGone
	}
	if err != nil {
		return fmt.Errorf("killing process %d: %w", h.pid, err)
	}
	return nil
}

// Close closes the file descriptor. The handle must not be used afterwards.
func (h *Handle) Close() error {
	fd := h.fd
	h.fd = -1
	return unix.Close(fd)
}
