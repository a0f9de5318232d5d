package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// commands are the commands that tests execute. They are in the guest's /bin.
func commands() []string { return []string{"cat", "echo", "head", "sh", "sleep", "true"} }

// A toolchain builds programs for an architecture.
type toolchain struct {
	arch    string
	triplet string // of Debian, as in /lib/TRIPLET
	loader  string // of shared libraries, where programs expect it
}

func toolchains() []toolchain {
	return []toolchain{
		{"amd64", "x86_64-linux-gnu", "/lib64/ld-linux-x86-64.so.2"},
		{"arm64", "aarch64-linux-gnu", "/lib/ld-linux-aarch64.so.1"},
	}
}

// build builds in dir all that guests of an architecture run, with the tests of some packages, and
// returns the guests' files. lacks handles the error of a program that only some tests need: a 32-bit
// program or a miner.
func (tc toolchain) build(ctx context.Context, cache, dir string, packages []string, lacks func(error) error) (tree, error) {
	files := tree{"/proc/": "", "/sys/": "", "/dev/": "", "/tmp/": "", "/run/": ""}
	var miner func() error
	if tc.arch == runtime.GOARCH {
		if err := files.addCommands(ctx); err != nil {
			return nil, err
		}
		miner = func() error { return tc.ownMiner(ctx, dir, files) }
	} else {
		debian, err := tc.userland(ctx, cache)
		if err != nil {
			return nil, err
		}
		if err := tc.addDebian(debian, files); err != nil {
			return nil, err
		}
		miner = func() error { return tc.debianMiner(ctx, debian, dir, files) }
	}
	if err := errors.Join(tc.programs(ctx, dir, packages, files), tc.victims(ctx, dir, files)); err != nil {
		return nil, err
	}
	for _, more := range []func() error{miner, func() error { return tc.narrowVictims(ctx, dir, files) }} {
		if err := more(); err != nil {
			if err := lacks(err); err != nil {
				return nil, err
			}
		}
	}
	return files, nil
}

// programs builds the agent, the first process and the test binaries of packages.
func (tc toolchain) programs(ctx context.Context, dir string, packages []string, files tree) error {
	var paths []string
	for _, pkg := range packages {
		paths = append(paths, "./"+pkg)
		files["/t/"+filepath.Base(pkg)+".test"] = filepath.Join(dir, filepath.Base(pkg)+".test")
	}
	files["/t/cryptnono"] = filepath.Join(dir, "cryptnono")
	files["/init"] = filepath.Join(dir, "guest")
	for _, args := range [][]string{
		{"build", "-o", dir + "/", "./cmd/cryptnono", "./test/kernels/guest"},
		append([]string{"test", "-c", "-o", dir + "/"}, paths...),
	} {
		args = slices.Insert(args, 1, "-buildvcs=false", "-ldflags=-s -w")
		cmd := exec.CommandContext(ctx, "go", args...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH="+tc.arch)
		if _, err := output(cmd); err != nil {
			return err
		}
	}
	return nil
}

// victims builds the programs of test/victims that need no library.
func (tc toolchain) victims(ctx context.Context, dir string, files tree) error {
	sources, err := filepath.Glob("test/victims/*.c")
	if err != nil {
		return err
	}
	for _, source := range sources {
		name := strings.TrimSuffix(filepath.Base(source), ".c")
		if name == minerName {
			continue
		}
		if err := tc.compile(ctx, filepath.Join(dir, "v", name), source, "-static"); err != nil {
			return err
		}
		files["/v/"+name] = filepath.Join(dir, "v", name)
	}
	return nil
}

// narrowVictims builds the victims that tests also run as 32-bit programs.
func (tc toolchain) narrowVictims(ctx context.Context, dir string, files tree) error {
	if tc.arch != "amd64" {
		return nil
	}
	for _, name := range []string{"hello", "fake_argv0"} {
		narrow := filepath.Join(dir, "v", "m32", name)
		if err := tc.compile(ctx, narrow, "test/victims/"+name+".c", "-static", "-m32"); err != nil {
			return err
		}
		files["/v/m32/"+name] = narrow
	}
	return nil
}

const minerName = "randomx_miner"

// ownMiner builds the program that computes RandomX hashes with this machine's library.
func (tc toolchain) ownMiner(ctx context.Context, dir string, files tree) error {
	program := filepath.Join(dir, "v", minerName)
	if err := tc.compile(ctx, program, "test/victims/"+minerName+".c", "-lrandomx"); err != nil {
		return err
	}
	return files.addProgram(ctx, "/v/"+minerName, program)
}

// compile compiles a program.
func (tc toolchain) compile(ctx context.Context, program, source string, flags ...string) error {
	if err := os.MkdirAll(filepath.Dir(program), 0o755); err != nil {
		return err
	}
	args := append([]string{"-O2", "-Wall", "-Wextra", "-Werror", "-pthread", "-o", program, source}, flags...)
	if _, err := output(exec.CommandContext(ctx, tc.compiler(), args...)); err != nil {
		return fmt.Errorf("compiling %s for %s: %w", source, tc.arch, err)
	}
	return nil
}

// compiler returns Debian's compiler for the architecture, or any for that of this machine.
func (tc toolchain) compiler() string {
	name := tc.triplet + "-gcc"
	if _, err := exec.LookPath(name); err != nil && tc.arch == runtime.GOARCH {
		return "cc"
	}
	return name
}
