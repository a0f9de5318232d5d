package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/cryptnono/cryptnono/test/kernels/job"
)

// passedFile is in the folder of a guest that has passed: its digest.
const passedFile = "passed"

// bootIfChanged is boot, but returns the steps of the guest before it from the console that it left in
// dir, if that passed and had the same kernel, files, job, emulator and program that starts it.
func (r *result) bootIfChanged(ctx context.Context, files tree, j job.Job, cmdline, dir string) ([]step, error) {
	inputs, err := digest(ctx, r.image, files, j, cmdline)
	if err != nil {
		return nil, err
	}
	passed := filepath.Join(dir, passedFile)
	if last, err := os.ReadFile(passed); err == nil && string(last) == inputs {
		console, err := os.Open(filepath.Join(dir, consoleFile))
		if err != nil {
			return nil, err
		}
		defer console.Close()
		r.cached = true
		steps, _, err := readConsole(console, io.Discard)
		return steps, err
	}
	if err := os.RemoveAll(passed); err != nil {
		return nil, err
	}
	r.ran[passed] = inputs
	return boot(ctx, r.image, files, j, cmdline, dir, io.Discard)
}

// keep records that the guests of the result have passed.
func (r *result) keep() error {
	if len(r.problems) > 0 || len(r.again) > 0 {
		return nil
	}
	for passed, inputs := range r.ran {
		if err := os.WriteFile(passed, []byte(inputs), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// digest returns a hash of all that decides what happens in a guest.
func digest(ctx context.Context, img image, files tree, j job.Job, cmdline string) (string, error) {
	h := sha256.New()
	machine := qemu(ctx, img.Arch, cmdline)
	if err := json.NewEncoder(h).Encode([]any{j, machine.Args}); err != nil {
		return "", err
	}
	all := []string{"/proc/self/exe", machine.Path, img.file}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(h, "%q\n", name)
		if from := files[name]; from != "" {
			all = append(all, from)
		}
	}
	for _, file := range all {
		if err := hashFile(h, file); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// hashFile adds the length and the content of a file.
func hashFile(h io.Writer, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	fmt.Fprintf(h, "%d %v\n", info.Size(), info.Mode())
	_, err = io.Copy(h, f)
	return err
}
