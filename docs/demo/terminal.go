package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long a command may take.
const patience = 30 * time.Second

// A terminal is a shell on a pseudo-terminal, and what it has shown.
type terminal struct {
	cmd   *exec.Cmd
	pty   *os.File
	ended chan struct{} // closed when the output has ended

	mu   sync.Mutex
	text []byte
	seen int // of text, before the last line was typed
}

// openTerminal starts a shell and waits for its prompt.
func openTerminal(ctx context.Context, prompt string, shell *exec.Cmd) (*terminal, error) {
	pty, tty, err := openPTY()
	if err != nil {
		return nil, fmt.Errorf("opening a terminal: %w", err)
	}
	defer tty.Close()
	shell.Env = append(shell.Env, "PS1="+prompt)
	shell.Stdin, shell.Stdout, shell.Stderr = tty, tty, tty
	if shell.SysProcAttr == nil {
		shell.SysProcAttr = new(syscall.SysProcAttr)
	}
	shell.SysProcAttr.Setsid, shell.SysProcAttr.Setctty = true, true
	if err := shell.Start(); err != nil {
		pty.Close()
		return nil, err
	}
	t := &terminal{cmd: shell, pty: pty, ended: make(chan struct{})}
	go t.read()
	if err := t.wait(ctx, regexp.QuoteMeta(prompt)+"$"); err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

func openPTY() (pty, tty *os.File, err error) {
	pty, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	fd := int(pty.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 50, Col: columns})
	}
	if err == nil {
		tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		pty.Close()
	}
	return pty, tty, err
}

func (t *terminal) read() {
	defer close(t.ended)
	b := make([]byte, 4096)
	for {
		n, err := t.pty.Read(b)
		t.mu.Lock()
		t.text = append(t.text, b[:n]...)
		t.mu.Unlock()
		if err != nil {
			return // EIO: no process has the terminal open
		}
	}
}

// run types a line and waits until what is shown from then on matches an expression.
func (t *terminal) run(ctx context.Context, line, until string) error {
	t.mu.Lock()
	t.seen = len(t.text)
	t.mu.Unlock()
	if _, err := t.pty.WriteString(line + "\n"); err != nil {
		return err
	}
	return t.wait(ctx, until)
}

// wait waits until what is shown since the last line was typed matches an expression.
func (t *terminal) wait(ctx context.Context, until string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	wanted := regexp.MustCompile(until)
	for {
		t.mu.Lock()
		text := string(t.text[t.seen:])
		t.mu.Unlock()
		if wanted.MatchString(text) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %q: %w, after %q", until, ctx.Err(), text)
		case <-t.ended:
			return fmt.Errorf("waiting for %q: the shell has ended, after %q", until, text)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// lines returns what is shown, without the prompt that waits for the next command.
func (t *terminal) lines() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := strings.Split(strings.ReplaceAll(string(t.text), "\r\n", "\n"), "\n")
	return lines[:len(lines)-1]
}

// close ends the command that runs, if any, and the shell.
func (t *terminal) close() {
	const interrupt = "\x03" // Ctrl-C
	_, _ = t.pty.WriteString(interrupt)
	for range 10 {
		_, _ = t.pty.WriteString("exit\n")
		select {
		case <-t.ended:
			_ = t.cmd.Wait()
			t.pty.Close()
			return
		case <-time.After(time.Second):
		}
	}
	_ = t.cmd.Process.Kill()
	_ = t.cmd.Wait()
	t.pty.Close()
}
