package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/cryptnono/cryptnono/test/kernels/job"
)

// bootLimit is for how long a guest may run at most.
const bootLimit = 15 * time.Minute

// A step is what came of one of a guest's steps.
type step struct {
	job.Event
	output []string
}

// boot runs a job on a kernel, under emulation: with files as the guest's file
// system, and more of the kernel's command line. It returns the steps that have
// ended, also with an error, which says that the guest did not come to its end. The
// console is kept in dir.
func boot(ctx context.Context, img image, files tree, j job.Job, cmdline, dir string) ([]step, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	text, err := json.Marshal(j)
	if err != nil {
		return nil, err
	}
	jobFile, console, initrd := filepath.Join(dir, "job.json"), filepath.Join(dir, "console"), filepath.Join(dir, "initrd")
	if err := os.WriteFile(jobFile, text, 0o644); err != nil {
		return nil, err
	}
	files = maps.Clone(files)
	files[job.File] = jobFile
	if err := writeTree(initrd, files); err != nil {
		return nil, err
	}
	defer os.Remove(initrd)
	_ = os.Remove(console)

	swap := filepath.Join(dir, "swap")
	if err := writeSwap(swap); err != nil {
		return nil, err
	}
	defer os.Remove(swap)

	ctx, cancel := context.WithTimeout(ctx, bootLimit)
	defer cancel()
	machine := qemu(ctx, img.Arch, cmdline)
	// One CPU: with two, the emulation breaks the kernel's patching of its own code.
	machine.Args = append(machine.Args, "-accel", "tcg", "-smp", "1", "-m", "1536M", "-nodefaults", "-no-user-config",
		"-display", "none", "-no-reboot", "-kernel", img.file, "-initrd", initrd, "-serial", "file:"+console,
		"-drive", "file="+swap+",if=none,format=raw,cache=unsafe,id=swap", "-device", "nvme,serial=swap,drive=swap")
	_, failed := output(machine)
	steps, done, err := readConsole(console)
	switch {
	case err != nil:
		return steps, errors.Join(failed, err)
	case !done:
		return steps, errors.Join(failed, fmt.Errorf("the guest did not come to its end: see %s", console))
	}
	return steps, nil
}

// qemu is the emulator of an architecture, with processors that it emulates fast: the
// newest of arm64 takes four times as long to boot, and wide registers of x86 cost a
// program that uses them more than they gain it.
func qemu(ctx context.Context, arch, cmdline string) *exec.Cmd {
	// A panic ends the guest.
	cmdline = strings.TrimSpace("quiet loglevel=1 panic=-1 random.trust_cpu=on " + cmdline)
	if arch == "arm64" {
		return exec.CommandContext(ctx, "qemu-system-aarch64", "-M", "virt,gic-version=3", "-cpu", "cortex-a72", "-append", "console=ttyAMA0 "+cmdline)
	}
	return exec.CommandContext(ctx, "qemu-system-x86_64", "-M", "q35", "-cpu", "max,avx2=off,avx=off", "-append", "console=ttyS0 "+cmdline)
}

func writeTree(file string, files tree) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	return errors.Join(files.write(f), f.Close())
}

// readConsole returns the steps of a guest, and whether it came to its end. The last
// step may lack its end.
func readConsole(file string) (steps []step, done bool, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, false, fmt.Errorf("the guest has said nothing: %w", err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
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
		}
	}
	return steps, done, lines.Err()
}
