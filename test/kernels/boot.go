package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/cryptnono/cryptnono/test/kernels/job"
)

// bootLimit is the maximum run time of a guest.
const bootLimit = 25 * time.Minute

// consoleFile is in the folder of a guest: what it wrote.
const consoleFile = "console"

// A step is the result of one step of a guest.
type step struct {
	job.Event
	output []string
}

// boot runs a job on a kernel under emulation, with files as the guest's file system and additional
// kernel parameters. It returns the steps that have ended, also with an error, which means that the
// guest did not complete. It keeps the console in dir, and writes the output of steps to show
// immediately.
func boot(ctx context.Context, img image, files tree, j job.Job, cmdline, dir string, show io.Writer) ([]step, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	text, err := json.Marshal(j)
	if err != nil {
		return nil, err
	}
	jobFile, console, initrd := filepath.Join(dir, "job.json"), filepath.Join(dir, consoleFile), filepath.Join(dir, "initrd")
	if err := os.WriteFile(jobFile, text, 0o644); err != nil {
		return nil, err
	}
	files = maps.Clone(files)
	files[job.File] = jobFile
	if err := writeTree(initrd, files); err != nil {
		return nil, err
	}
	defer os.Remove(initrd)

	swap := filepath.Join(dir, "swap")
	if err := writeSwap(swap); err != nil {
		return nil, err
	}
	defer os.Remove(swap)

	ctx, cancel := context.WithTimeout(ctx, bootLimit)
	defer cancel()
	machine := qemu(ctx, img.Arch, cmdline)
	// One CPU, because with two the emulation breaks the kernel's patching of its code.
	machine.Args = append(machine.Args, "-accel", "tcg", "-smp", "1", "-m", "1536M", "-nodefaults", "-no-user-config",
		"-display", "none", "-no-reboot", "-kernel", img.file, "-initrd", initrd, "-serial", "stdio",
		"-drive", "file="+swap+",if=none,format=raw,cache=unsafe,id=swap", "-device", "nvme,serial=swap,drive=swap")
	steps, done, err := runMachine(machine, console, show)
	if err == nil && !done {
		err = fmt.Errorf("the guest did not come to its end: see %s", console)
	}
	return steps, err
}

// runMachine runs an emulator whose standard output is the guest's console, and writes it to a
// file.
func runMachine(machine *exec.Cmd, console string, show io.Writer) (steps []step, done bool, err error) {
	f, err := os.Create(console)
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	var said strings.Builder
	machine.Stderr = &said
	stdout, err := machine.StdoutPipe()
	if err != nil {
		return nil, false, err
	}
	if err := machine.Start(); err != nil {
		return nil, false, err
	}
	text := io.TeeReader(stdout, f)
	steps, done, err = readConsole(text, show)
	_, copyErr := io.Copy(io.Discard, text)
	if failed := machine.Wait(); failed != nil {
		failed = fmt.Errorf("running %s: %w: %s", filepath.Base(machine.Path), failed, strings.TrimSpace(said.String()))
		return steps, done, errors.Join(failed, err)
	}
	return steps, done, errors.Join(err, copyErr)
}

// qemu returns the emulator of an architecture with a CPU model that it emulates fast: the newest
// model of arm64 takes four times as long to boot, and emulated wide registers of x86 slow programs
// down. With erms the kernels up to 6.3 copy memory byte by byte. Without nokaslr those of arm64 isolate
// their page tables, so that each system call empties the emulator's TLB.
func qemu(ctx context.Context, arch, cmdline string) *exec.Cmd {
	// panic=-1: a panic reboots, which ends the guest.
	cmdline = strings.TrimSpace("quiet loglevel=1 panic=-1 random.trust_cpu=on nokaslr " + cmdline)
	if arch == "arm64" {
		return exec.CommandContext(ctx, "qemu-system-aarch64", "-M", "virt,gic-version=3", "-cpu", "cortex-a72", "-append", "console=ttyAMA0 "+cmdline)
	}
	return exec.CommandContext(ctx, "qemu-system-x86_64", "-M", "q35", "-cpu", "max,avx2=off,avx=off,erms=off", "-append", "console=ttyS0 "+cmdline)
}

func writeTree(file string, files tree) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	return errors.Join(files.write(f), f.Close())
}

// readConsole returns the steps of a guest, and whether the guest completed. The last step may be
// incomplete. It writes the output of the steps to show, without the lines of -test.v before the
// end of a test.
func readConsole(console io.Reader, show io.Writer) (steps []step, done bool, err error) {
	lines := bufio.NewScanner(console)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		e, text, isEvent, isOutput := job.ParseLine(lines.Text())
		switch {
		case isEvent && e.Kind == job.Begin:
			steps = append(steps, step{Event: e})
		case isEvent && e.Kind == job.Done:
			done = true
		case len(steps) == 0:
		case isEvent:
			steps[len(steps)-1].Event = e
		case isOutput:
			steps[len(steps)-1].output = append(steps[len(steps)-1].output, text)
			if !strings.HasPrefix(text, "=== ") {
				fmt.Fprintln(show, text)
			}
		}
	}
	return steps, done, lines.Err()
}
