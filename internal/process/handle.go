package process

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A Handle holds on to one process. No other process is ever read or killed
// through it, even if its pid is reused. It is for one goroutine at a time, and
// keeps a file descriptor until closed.
type Handle struct {
	pid, fd      int
	start        time.Duration
	kernelThread bool
}

// Open returns the handle of the process that has this pid now, or ErrGone.
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
		// The number is in use, but for a thread, a process group or a
		// session: EINVAL, and ENOENT in newer kernels.
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

// Start returns when the process began, since boot, in whole clock ticks.
func (h *Handle) Start() time.Duration { return h.start }

// Alive returns nil as long as the process runs, then ErrGone. What was read by pid before
// is then of this process: its pid cannot have been another's meanwhile.
func (h *Handle) Alive() error {
	for {
		// A pidfd becomes readable when the last thread has exited.
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

// Protected returns an error that wraps ErrProtected and says why for the
// init process, kernel threads and the agent itself. It is nil for all others.
func (h *Handle) Protected() error {
	switch {
	case h.pid == 1:
		return fmt.Errorf("%w: the init process", ErrProtected)
	case h.pid == os.Getpid():
		return fmt.Errorf("%w: the agent itself", ErrProtected)
	case h.kernelThread:
		// Some accept SIGKILL: those of the NFS server, for one.
		return fmt.Errorf("%w: a kernel thread", ErrProtected)
	}
	return nil
}

// Kill sends SIGKILL to the process, unless it is Protected, and does not wait
// for its end. It returns ErrGone if the process had ended before.
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

// Close releases the descriptor. The handle is of no use afterwards.
func (h *Handle) Close() error {
	fd := h.fd
	h.fd = -1
	return unix.Close(fd)
}
