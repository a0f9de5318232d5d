// Kernels runs the agent and the privileged tests of its detectors on the kernels of Debian, each
// booted under emulation (QEMU) with an initramfs that has only the programs of the tests.
//
//	go run ./test/kernels [-only REGEX] [-write]
//	go run ./test/kernels -kernel NAME|FILE [-pkg PACKAGE] [-run REGEX]
//
// The first form prints the result for each kernel and compares it with docs/kernels.md and
// verified-instructions.tsv; -write writes both. plan.go lists the tests. The second form runs tests
// on one kernel and shows their output: see one.go. Both must be started at the root of the module
// and need no root privileges.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var o options
	var only string
	flag.StringVar(&only, "only", "", "run the kernels whose \"NAME/ARCH\" matches this regular expression, and only check these")
	flag.BoolVar(&o.write, "write", false, "write the table in docs/kernels.md and the record of verified instructions; implies -full")
	flag.BoolVar(&o.full, "full", false, "also run long tests on all kernels, and the kernels that are run only with this flag")
	flag.IntVar(&o.atOnce, "j", 2, "`guests` that run at once")
	flag.StringVar(&o.out, "out", ".cache/kernels", "`folder` for built files and the guests' consoles")
	flag.StringVar(&o.kernel, "kernel", "", "run tests only on this kernel: a name of plan.go, with or without \"/ARCH\", or a `file`")
	flag.StringVar(&o.pkg, "pkg", "", "with -kernel, run the tests of this `package`, instead of all in plan.go")
	flag.StringVar(&o.run, "run", "", "with -kernel, run the tests whose names match this regular expression, instead of those in plan.go")
	flag.Parse()
	var err error
	o.full = o.full || o.write
	switch o.only, err = regexp.Compile(only); {
	case err != nil:
	case o.kernel != "":
		err = runOne(ctx, os.Stdout, o)
	default:
		err = run(ctx, os.Stdout, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "kernels:", err)
		os.Exit(1)
	}
}

type options struct {
	only   *regexp.Regexp
	write  bool
	full   bool
	atOnce int
	out    string

	kernel, pkg, run string // of runOne
}

// selects reports whether a kernel is run.
func (o options) selects(k kernel) bool {
	if o.only.String() == "" {
		return o.full || !k.Seldom
	}
	return o.only.MatchString(k.Name + "/" + k.Arch)
}

func run(ctx context.Context, w io.Writer, o options) error {
	began := time.Now()
	cache, err := cacheFolder()
	if err != nil {
		return err
	}
	results := fetch(ctx, cache, o)
	fmt.Fprintf(w, "%.0f s: kernels are there\n", time.Since(began).Seconds())
	trees, err := buildAll(ctx, cache, o, results)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%.0f s: programs are there\n", time.Since(began).Seconds())

	var guests errgroup.Group
	guests.SetLimit(o.atOnce)
	for _, r := range longestFirst(results) {
		if r.missing != nil {
			continue
		}
		guests.Go(func() error {
			r.run(ctx, trees[r.Arch], o)
			return nil
		})
	}
	_ = guests.Wait()
	for _, r := range results {
		r.print(w)
	}
	err = judge(w, results, o)
	fmt.Fprintf(w, "%.0f s in all\n", time.Since(began).Seconds())
	return err
}

// longestFirst returns the results in an order in which no long guest is started last and runs
// alone. The number of steps stands for the time.
func longestFirst(results []*result) []*result {
	return slices.SortedStableFunc(slices.Values(results), func(a, b *result) int {
		return cmp.Compare(len(b.job("").Steps), len(a.job("").Steps))
	})
}

// cacheFolder returns the folder of downloaded kernels, which all checkouts share.
func cacheFolder() (string, error) {
	cache, err := os.UserCacheDir()
	return filepath.Join(cache, "cryptnono"), err
}

// fetch fetches the kernels one after the other, because apt locks its lists.
func fetch(ctx context.Context, cache string, o options) []*result {
	var results []*result
	for _, k := range kernels() {
		if !o.selects(k) {
			continue
		}
		img, err := k.fetch(ctx, cache)
		img.kernel = k
		results = append(results, &result{image: img, missing: err, full: o.full})
	}
	return results
}

func buildAll(ctx context.Context, cache string, o options, results []*result) (map[string]tree, error) {
	trees := make(map[string]tree)
	for _, tc := range toolchains() {
		needed := false
		for _, r := range results {
			needed = needed || r.Arch == tc.arch && r.missing == nil
		}
		if !needed {
			continue
		}
		dir, err := filepath.Abs(filepath.Join(o.out, "build", tc.arch))
		if err != nil {
			return nil, err
		}
		all := func(err error) error { return err }
		if trees[tc.arch], err = tc.build(ctx, cache, dir, packages(tests()), all); err != nil {
			return nil, fmt.Errorf("building for %s: %w", tc.arch, err)
		}
	}
	return trees, nil
}

// judge returns an error if a test failed, too few kernels ran, or the documentation differs from the
// results.
func judge(w io.Writer, results []*result, o options) error {
	var problems []string
	ran := make(map[string]int)
	for _, r := range results {
		switch {
		case r.missing != nil:
			continue
		case len(r.problems) > 0:
			problems = append(problems, fmt.Sprintf("%s on %s failed", r.Name, r.Arch))
		}
		ran[r.Arch]++
	}
	if o.only.String() == "" {
		for arch, n := range least() {
			if ran[arch] < n {
				problems = append(problems, fmt.Sprintf("only %d kernels ran on %s, and fewer than %d say too little", ran[arch], arch, n))
			}
		}
	}
	if len(results) == 0 {
		problems = append(problems, fmt.Sprintf("no kernel of plan.go matches %q", o.only))
	}
	compareInstructions(w, results)
	if o.write {
		good := slices.DeleteFunc(slices.Clone(results), func(r *result) bool { return len(r.problems) > 0 })
		if err := errors.Join(writeDocs(good), writeInstructions(good)); err != nil {
			return err
		}
	} else {
		problems = append(problems, checkDocs(results)...)
	}
	if len(problems) > 0 {
		return errors.New(strings.Join(problems, "; "))
	}
	return nil
}
