package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// userland are the Debian packages of which a guest has files: what tests execute,
// and a miner's library, with all that those need.
func userland() []string {
	return []string{"coreutils", "dash", "libc6", "libgcc-s1", "librandomx-dev", "librandomx0", "libstdc++6"}
}

// systemFiles are those files, by the ends of their paths in the packages.
func (tc toolchain) systemFiles() map[string]string {
	files := map[string]string{"/bin/sh": "bin/dash", tc.loader: tc.loader}
	for _, name := range []string{"cat", "echo", "sleep", "true"} {
		files["/bin/"+name] = "bin/" + name
	}
	for _, name := range []string{"libc.so.6", "libgcc_s.so.1", "libm.so.6", "librandomx.so.0", "libstdc++.so.6"} {
		files["/lib/"+tc.triplet+"/"+name] = tc.triplet + "/" + name
	}
	return files
}

// A toolchain makes programs of an architecture.
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

// build makes all that guests of an architecture run, in dir, and returns their
// files.
func (tc toolchain) build(ctx context.Context, cache, dir string) (tree, error) {
	debian, err := tc.userland(ctx, cache)
	if err != nil {
		return nil, err
	}
	files := tree{"/proc/": "", "/sys/": "", "/dev/": "", "/tmp/": "", "/run/": ""}
	for name, from := range tc.systemFiles() {
		if files[name], err = find(debian, filepath.Base(filepath.Dir(from)), filepath.Base(from)); err != nil {
			return nil, err
		}
	}
	return files, errors.Join(
		tc.programs(ctx, dir, files),
		tc.victims(ctx, dir, files),
		tc.miner(ctx, debian, dir, files),
	)
}

// userland returns a folder with the files of the packages in userland.
func (tc toolchain) userland(ctx context.Context, cache string) (string, error) {
	name, err := codename()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "userland", name+"-"+tc.arch)
	list := strings.Join(userland(), "\n")
	if had, err := os.ReadFile(filepath.Join(dir, "packages")); err == nil && string(had) == list {
		return dir, nil
	}
	s, err := openSuite(ctx, cache, name, tc.arch)
	if err != nil {
		return "", err
	}
	if err := s.unpack(ctx, dir, userland()...); err != nil {
		return "", err
	}
	return dir, os.WriteFile(filepath.Join(dir, "packages"), []byte(list), 0o644)
}

// codename returns the name of this machine's Debian, whose compiler and libraries
// fit together.
func codename() (string, error) {
	text, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "VERSION_CODENAME="); ok {
			return name, nil
		}
	}
	return "", errors.New("/etc/os-release names no release of Debian")
}

// programs builds the agent, the first process and the test binaries.
func (tc toolchain) programs(ctx context.Context, dir string, files tree) error {
	var packages []string
	for _, t := range tests() {
		if !slices.Contains(packages, "./"+t.pkg) {
			packages = append(packages, "./"+t.pkg)
		}
		files["/t/"+filepath.Base(t.pkg)+".test"] = filepath.Join(dir, filepath.Base(t.pkg)+".test")
	}
	files["/t/cryptnono"] = filepath.Join(dir, "cryptnono")
	files["/init"] = filepath.Join(dir, "guest")
	for _, args := range [][]string{
		{"build", "-o", dir + "/", "./cmd/cryptnono", "./test/kernels/guest"},
		append([]string{"test", "-c", "-o", dir + "/"}, packages...),
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

// victims builds those of test/victims that need no library.
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

// miner builds the program that computes RandomX hashes. Debian has that library in
// shared form only.
func (tc toolchain) miner(ctx context.Context, debian, dir string, files tree) error {
	header, err := find(debian, "include", "randomx.h")
	if err != nil {
		return err
	}
	program := filepath.Join(dir, "v", minerName)
	files["/v/"+minerName] = program
	return tc.compile(ctx, program, "test/victims/"+minerName+".c", "-I"+filepath.Dir(header),
		files["/lib/"+tc.triplet+"/librandomx.so.0"], "-Wl,--allow-shlib-undefined")
}

// compile compiles a program, unless a newer one is there.
func (tc toolchain) compile(ctx context.Context, program, source string, flags ...string) error {
	if err := os.MkdirAll(filepath.Dir(program), 0o755); err != nil {
		return err
	}
	args := append([]string{"-O2", "-Wall", "-Wextra", "-Werror", "-pthread", "-o", program, source}, flags...)
	if _, err := output(exec.CommandContext(ctx, tc.triplet+"-gcc", args...)); err != nil {
		return fmt.Errorf("compiling %s for %s: %w", source, tc.arch, err)
	}
	return nil
}

// find returns the file of a name in a folder of a name, somewhere below dir, and
// follows a link to it.
func find(dir, folder, name string) (string, error) {
	found := ""
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && e.Name() == name && filepath.Base(filepath.Dir(path)) == folder {
			if file, err := filepath.EvalSymlinks(path); err == nil {
				found = file
			}
		}
		return err
	})
	if err == nil && found == "" {
		err = fmt.Errorf("%s/%s is not among the unpacked packages", folder, name)
	}
	return found, err
}
