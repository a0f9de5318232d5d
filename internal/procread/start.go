package procread

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// startChild starts a child. The child shares only two pipes with the agent, and not
// standard error, which can block if its reader is slow.
func startChild() (*child, error) {
	c, err := forkChild()
	if err != nil {
		return nil, fmt.Errorf("starting a reader process: %w", err)
	}
	c.begin(startTime)
	kind, content, err := readFrame(c.in, c.frame)
	if err == nil && kind != frameHello {
		err = errProtocol
	}
	if err != nil {
		c.kill()
		return c, fmt.Errorf("waiting for the start of a reader process: %w", err)
	}
	c.tid = int(binary.LittleEndian.Uint32(content))
	return c, nil
}

// keepDescriptors sets close-on-exec for file descriptors that the agent has inherited, so
// that children do not inherit them. Go opens all others with it.
func keepDescriptors() {
	dir, err := os.Open("/proc/self/fd")
	if err != nil {
		return
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	for _, name := range names {
		if fd, err := strconv.Atoi(name); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
}

func forkChild() (*child, error) {
	var in, out [2]int
	if err := unix.Pipe2(in[:], unix.O_CLOEXEC); err != nil {
		return nil, err
	}
	defer unix.Close(in[0])
	if err := unix.Pipe2(out[:], unix.O_CLOEXEC); err != nil {
		unix.Close(in[1])
		return nil, err
	}
	defer unix.Close(out[1])
	// Deadlines require non-blocking descriptors.
	err := errors.Join(unix.SetNonblock(in[1], true), unix.SetNonblock(out[0], true))
	pid := 0
	if err == nil {
		//nolint:forbidigo // this program itself, so that a blocked read does not block a thread of the agent
		pid, err = syscall.ForkExec("/proc/self/exe", []string{childName}, &syscall.ProcAttr{
			Env:   []string{"GOMAXPROCS=1", "GOTRACEBACK=none"},
			Files: []uintptr{uintptr(in[0]), uintptr(out[1]), uintptr(out[1])},
			// The terminal's signals are only for the agent.
			Sys: &syscall.SysProcAttr{Setsid: true},
		})
	}
	if err != nil {
		unix.Close(in[1])
		unix.Close(out[0])
		return nil, err
	}
	c := &child{
		pid:      pid,
		requests: os.NewFile(uintptr(in[1]), "requests"),
		answers:  os.NewFile(uintptr(out[0]), "answers"),
		frame:    make([]byte, maxFrame),
	}
	c.in = bufio.NewReaderSize(c, 16<<10)
	return c, nil
}
