//go:build linux

// Guest is the first process of the virtual machines in which the kernel tests run: it mounts the
// file systems that programs expect, runs the steps of its job one after the other, writes their
// results to the console, and powers off.
//
// If it is not the first process, it prepares a step: see prepare.go.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/test/kernels/job"
)

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, prepare(os.Args[1:]))
		os.Exit(1)
	}
	began := time.Now()
	if err := run(os.Stdout); err != nil {
		fmt.Println("guest:", err)
	} else {
		_ = job.WriteEvent(os.Stdout, job.Event{Kind: job.Done, Seconds: time.Since(began).Seconds()})
	}
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

func run(console io.Writer) error {
	if err := setUp(); err != nil {
		return err
	}
	text, err := os.ReadFile(job.File)
	if err != nil {
		return fmt.Errorf("reading the job: %w", err)
	}
	var j job.Job
	if err := json.Unmarshal(text, &j); err != nil {
		return fmt.Errorf("decoding the job: %w", err)
	}
	for i, s := range j.Steps {
		if err := job.WriteEvent(console, job.Event{Kind: job.Begin, Step: s.Name}); err != nil {
			return err
		}
		began := time.Now()
		status, err := runStep(console, s, j.Env, fmt.Sprintf("%s/step%d", cgroups, i))
		e := job.Event{Kind: job.End, Step: s.Name, Status: status, Seconds: time.Since(began).Seconds()}
		if err != nil {
			e.Problem = err.Error()
		}
		if err := job.WriteEvent(console, e); err != nil {
			return err
		}
	}
	return nil
}

// runStep runs a step in a new cgroup, kills the processes that it leaves, and returns its exit
// status. A cgroup is not reused, because some kernels would then kill later processes too.
func runStep(console io.Writer, s job.Step, env []string, cgroup string) (int, error) {
	if err := os.Mkdir(cgroup, 0o755); err != nil {
		return -1, err
	}
	group, err := os.Open(cgroup)
	if err != nil {
		return -1, err
	}
	defer group.Close()
	read, write, err := os.Pipe()
	if err != nil {
		return -1, err
	}
	cmd := exec.Command(s.Args[0], s.Args[1:]...)
	cmd.Dir, cmd.Env = "/tmp", env
	cmd.Stdout, cmd.Stderr = write, write
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, UseCgroupFD: true, CgroupFD: int(group.Fd())}
	err = cmd.Start()
	write.Close()
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		lines := bufio.NewReader(read)
		for {
			line, err := lines.ReadString('\n')
			if len(line) > 0 {
				_ = job.WriteOutput(console, trimNewline(line))
			}
			if err != nil {
				return
			}
		}
	}()
	if err == nil {
		limit := time.AfterFunc(time.Duration(s.LimitSeconds)*time.Second, func() { _ = cmd.Process.Kill() })
		err = cmd.Wait()
		if !limit.Stop() {
			err = fmt.Errorf("killed after %d s", s.LimitSeconds)
		}
		_ = os.WriteFile(cgroup+"/cgroup.kill", []byte("1"), 0) // since Linux 5.14
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = swap(syscall.SYS_SWAPOFF) // if it was on
	}
	select {
	case <-copied:
	case <-time.After(10 * time.Second): // a process still has the other end open
	}
	read.Close()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		if status := exit.Sys().(syscall.WaitStatus); status.Signaled() {
			return 128 + int(status.Signal()), nil
		}
		return exit.ExitCode(), nil
	}
	if err != nil {
		return -1, err
	}
	return 0, nil
}

func trimNewline(line string) string {
	if n := len(line); n > 0 && line[n-1] == '\n' {
		return line[:n-1]
	}
	return line
}
