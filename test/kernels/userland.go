package main

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Guests have commands and libraries of this machine if the architecture is the same, and of Debian
// otherwise.

// addCommands adds this machine's commands.
func (t tree) addCommands(ctx context.Context) error {
	for _, name := range commands() {
		program, err := exec.LookPath(name)
		if err != nil {
			return err
		}
		if err := t.addProgram(ctx, "/bin/"+name, program); err != nil {
			return err
		}
	}
	return nil
}

// addProgram adds a program of this machine and the shared libraries that it needs.
func (t tree) addProgram(ctx context.Context, name, program string) error {
	t[name] = program
	file, err := elf.Open(program)
	if err != nil {
		return fmt.Errorf("reading %s: %w", program, err)
	}
	defer file.Close()
	if !slices.ContainsFunc(file.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
		return nil
	}
	libraries, err := output(exec.CommandContext(ctx, "ldd", program))
	if err != nil {
		return err
	}
	for word := range strings.FieldsSeq(libraries) {
		if filepath.IsAbs(word) {
			t[word] = word
		}
	}
	return nil
}

// debianPackages are the packages whose files a guest has, with their dependencies.
func debianPackages() []string {
	return []string{"coreutils", "dash", "libc6", "libgcc-s1", "librandomx-dev", "librandomx0", "libstdc++6"}
}

// debianFiles are these files, by the ends of their paths in the packages.
func (tc toolchain) debianFiles() map[string]string {
	files := map[string]string{tc.loader: tc.loader}
	for _, name := range commands() {
		files["/bin/"+name] = "bin/" + name
	}
	files["/bin/sh"] = "bin/dash"
	for _, name := range []string{"libc.so.6", "libgcc_s.so.1", "libm.so.6", "librandomx.so.0", "libstdc++.so.6"} {
		files["/lib/"+tc.triplet+"/"+name] = tc.triplet + "/" + name
	}
	return files
}

// addDebian adds the files of the packages that are unpacked in a folder.
func (tc toolchain) addDebian(debian string, files tree) error {
	for name, from := range tc.debianFiles() {
		file, err := find(debian, filepath.Base(filepath.Dir(from)), filepath.Base(from))
		if err != nil {
			return err
		}
		files[name] = file
	}
	return nil
}

// userland returns a folder with the files of debianPackages.
func (tc toolchain) userland(ctx context.Context, cache string) (string, error) {
	name, err := codename()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "userland", name+"-"+tc.arch)
	list := strings.Join(debianPackages(), "\n")
	if had, err := os.ReadFile(filepath.Join(dir, "packages")); err == nil && string(had) == list {
		return dir, nil
	}
	s, err := openSuite(ctx, cache, name, tc.arch)
	if err != nil {
		return "", err
	}
	if err := s.unpack(ctx, dir, debianPackages()...); err != nil {
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

// debianMiner builds the program that computes RandomX hashes. Debian has only a shared library for
// that.
func (tc toolchain) debianMiner(ctx context.Context, debian, dir string, files tree) error {
	header, err := find(debian, "include", "randomx.h")
	if err != nil {
		return err
	}
	program := filepath.Join(dir, "v", minerName)
	files["/v/"+minerName] = program
	return tc.compile(ctx, program, "test/victims/"+minerName+".c", "-I"+filepath.Dir(header),
		files["/lib/"+tc.triplet+"/librandomx.so.0"], "-Wl,--allow-shlib-undefined")
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
