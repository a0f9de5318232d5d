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

// startChild starts a child. It shares nothing with it but two pipes: not even standard
// error, whose reader may be somebody who does not read.
func startChild() (*child, error) {
	c, err := forkChild()
	if err != nil {
		return nil, fmt.Errorf("starting a process that reads others: %w", err)
	}
	c.begin(startTime)
	kind, content, err := readFrame(c.in, c.frame)
	if err == nil && kind != frameHello {
		err = errProtocol
	}
	if err != nil {
		c.kill()
		return c, fmt.Errorf("waiting for a process that reads others: %w", err)
	}
	c.tid = int(binary.LittleEndian.Uint32(content))
	return c, nil
}

// keepDescriptors makes sure that no descriptor of ours gets into a child. Those that we
// open are closed there in any case, but we may have been started with some.
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
	// Deadlines need descriptors that do not block.
	err := errors.Join(unix.SetNonblock(in[1], true), unix.SetNonblock(out[0], true))
	pid := 0
	if err == nil {
		//nolint:forbidigo // this program itself: a read that hangs must not hang a thread of ours
		pid, err = syscall.ForkExec("/proc/self/exe", []string{childName}, &syscall.ProcAttr{
			Env:   []string{"GOMAXPROCS=1", "GOTRACEBACK=none"},
			Files: []uintptr{uintptr(in[0]), uintptr(out[1]), uintptr(out[1])},
			// Out of reach of the terminal's signals.
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
