// Package supervise starts a program again after a crash. In a container, it keeps a crash of the
// agent from its kubelet, which waits up to five minutes before it starts a container again.
package supervise

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec" //nolint:depguard // for this program itself
	"runtime"
	"syscall"
	"time"

	"github.com/cryptnono/cryptnono/internal/shortage"
)

const (
	// minPause and maxPause bound the pause before a start, which doubles with each early end.
	minPause, maxPause = 50 * time.Millisecond, time.Second
	// early is the time after its start before which an end counts as one at the start.
	early = 2 * time.Second
	// most is the number of early ends, one after the other, after which Run gives up.
	most = 6
)

// A Supervisor runs a program. Log must not block.
type Supervisor struct {
	Program string
	Args    []string // from argv[0] on
	Log     *slog.Logger
	// Hangup receives a value for each SIGHUP that the program is to get.
	Hangup <-chan struct{}
	// Cut is called after a crash, before Log: what the program has written may end in the middle of a line. It may be nil.
	Cut func()
}

// Run runs the program until ctx ends, and starts it again when it ends in another way than with
// status 0. While the machine has no room for a process, it tries again. When ctx ends, it sends SIGTERM to the program and waits for it. It returns
// the status of the last run, 128 more than the signal if one ended it. The program is killed if this process ends first.
func (s *Supervisor) Run(ctx context.Context) (status int, err error) {
	runtime.LockOSThread() // Pdeathsig is of the thread that starts the program
	defer runtime.UnlockOSThread()
	pause, ends := minPause, 0
	for {
		began := time.Now()
		status, err = s.once(ctx)
		age := time.Since(began)
		if err == nil && status != 0 && s.Cut != nil {
			s.Cut()
		}
		switch {
		case ctx.Err() == nil && isLack(err): // no crash: it counts as none
			s.Log.Error("agent not started, trying again", "err", err, "pause_seconds", pause.Seconds())
		case err != nil || status == 0 || ctx.Err() != nil:
			return status, err
		case age < early:
			if ends++; ends == most {
				s.Log.Error("agent ends at each start, giving up", "status", status)
				return status, nil
			}
		default:
			pause, ends = minPause, 0
		}
		if err == nil {
			s.Log.Error("agent ended, starting it again", "status", status, "age_seconds", age.Seconds(), "pause_seconds", pause.Seconds())
		}
		select {
		case <-ctx.Done():
			return status, nil
		case <-time.After(pause):
		}
		pause = min(2*pause, maxPause)
	}
}

// isLack reports whether a start failed for lack of processes, memory or file descriptors.
func isLack(err error) bool {
	return errors.Is(err, syscall.EAGAIN) || shortage.Is(err)
}

// once runs the program once.
func (s *Supervisor) once(ctx context.Context) (status int, err error) {
	cmd := exec.CommandContext(ctx, s.Program)
	cmd.Args = s.Args
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); ctx.Err() == nil && err != nil {
		return 0, fmt.Errorf("starting the agent: %w", err)
	} else if err != nil {
		return 0, nil //nolint:nilerr // it is to stop
	}
	ended := make(chan struct{})
	forwarded := make(chan struct{})
	go func() {
		defer close(forwarded)
		for {
			select {
			case <-ended:
				return
			case <-s.Hangup:
				_ = cmd.Process.Signal(syscall.SIGHUP) // fails if it has ended
			}
		}
	}()
	err = cmd.Wait()
	close(ended)
	<-forwarded
	if _, isExit := errors.AsType[*exec.ExitError](err); err != nil && !isExit && ctx.Err() == nil {
		return 0, fmt.Errorf("waiting for the agent: %w", err)
	}
	if w := cmd.ProcessState.Sys().(syscall.WaitStatus); w.Signaled() {
		return 128 + int(w.Signal()), nil
	}
	return cmd.ProcessState.ExitCode(), nil
}
