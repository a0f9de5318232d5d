package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/cryptnono/cryptnono/test/kernels/job"
)

// runOne runs the tests of the options on the kernel of the options, and shows their output.
func runOne(ctx context.Context, w io.Writer, o options) error {
	suites, err := o.suites()
	if err != nil {
		return err
	}
	cache, err := cacheFolder()
	if err != nil {
		return err
	}
	img, err := findImage(ctx, cache, o.kernel)
	if err != nil {
		return err
	}
	toolchains := toolchains()
	tc := toolchains[slices.IndexFunc(toolchains, func(tc toolchain) bool { return tc.arch == img.Arch })]
	out, err := filepath.Abs(o.out)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "building for %s on %s\n", img.release, img.Arch)
	files, err := tc.build(ctx, cache, filepath.Join(out, "build", tc.arch), packages(suites), func(err error) error {
		first, _, _ := strings.Cut(err.Error(), "\n")
		fmt.Fprintln(w, "left out, and a test that needs it fails:", first)
		return nil
	})
	if err != nil {
		return err
	}
	j := job.Job{Env: environment()}
	for i, t := range suites {
		j.Steps = append(j.Steps, t.step(i, true))
	}
	fmt.Fprintln(w, "booting")
	steps, err := boot(ctx, img, files, j, "", filepath.Join(out, "one"), w)
	passed, failed := judgeSteps(suites, steps)
	fmt.Fprintf(w, "%d tests passed on %s\n", passed, img.release)
	return errors.Join(err, failed)
}

// suites returns the tests that -pkg and -run select: those of the package in the plan, including
// long ones, or with -run any of its tests.
func (o options) suites() ([]suiteOfTests, error) {
	var all []suiteOfTests
	pkg := filepath.Clean(o.pkg)
	for _, t := range tests() {
		if o.pkg == "" && t.on == everywhere || t.pkg == pkg {
			all = append(all, t)
		}
	}
	if o.run == "" && len(all) > 0 {
		return all, nil
	}
	if info, err := os.Stat(pkg); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("there is no package %s in this module", pkg)
	}
	if o.pkg != "" {
		return []suiteOfTests{{pkg: pkg, run: o.run}}, nil
	}
	names := packages(all)
	all = nil
	for _, name := range names {
		all = append(all, suiteOfTests{pkg: name, run: o.run})
	}
	return all, nil
}

// packages returns the packages of suites without duplicates.
func packages(suites []suiteOfTests) []string {
	var all []string
	for _, t := range suites {
		if !slices.Contains(all, t.pkg) {
			all = append(all, t.pkg)
		}
	}
	return all
}

// findImage returns the kernel with a name in the plan, or the one in a file.
func findImage(ctx context.Context, cache, name string) (image, error) {
	var names []string
	for _, k := range kernels() {
		if name == k.Name+"/"+k.Arch || name == k.Name && k.Arch == runtime.GOARCH {
			if _, err := exec.LookPath("apt-get"); err != nil {
				return image{}, fmt.Errorf("kernels by name come from Debian's archive: %w; name a file instead", err)
			}
			return k.fetch(ctx, cache)
		}
		names = append(names, k.Name+"/"+k.Arch)
	}
	if info, err := os.Stat(name); err != nil || !info.Mode().IsRegular() {
		return image{}, fmt.Errorf("%s is neither a file nor one of %s", name, strings.Join(names, ", "))
	}
	return image{kernel: kernel{Name: filepath.Base(name), Arch: runtime.GOARCH}, file: name, release: filepath.Base(name)}, nil
}

// judgeSteps returns the number of tests that have passed. It returns an error if there is none or if
// a suite failed.
func judgeSteps(suites []suiteOfTests, steps []step) (passed int, err error) {
	var all []error
	for i, t := range suites {
		switch {
		case i >= len(steps):
			all = append(all, fmt.Errorf("%s was not run", t.pkg))
			continue
		case steps[i].Kind != job.End:
			all = append(all, fmt.Errorf("%s did not come to its end", t.pkg))
		case steps[i].Status != 0 || steps[i].Problem != "":
			all = append(all, fmt.Errorf("%s failed: status %d %s", t.pkg, steps[i].Status, steps[i].Problem))
		}
		passed += steps[i].passed()
	}
	if len(all) == 0 && passed == 0 {
		all = append(all, errors.New("no test has run"))
	}
	return passed, errors.Join(all...)
}
