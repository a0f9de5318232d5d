// Command bench measures the cost of the agent on the running kernel, and prints tables. It needs
// root and a C compiler, and must be started at the root of the repository. docs/performance.md
// explains the numbers.
//
// The agent only observes while it is measured, except for the miners of the section "kill".
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// A section is a measurement, printed as tables.
type section struct {
	name string
	run  func(context.Context, *bench) error
}

// sections returns all sections, in the order in which they run.
func sections() []section {
	return []section{
		{"together", togetherCost},
		{"judge", judgeCost},
		{"against", judgeAgainst},
		{"worst", worstCost},
		{"rate", execRate},
		{"fork", forkCost},
		{"scan", scanCost},
		{"start", startCost},
		{"compile", compileCost},
		{"switch", switchCost},
		{"kill", killTime},
		{"suspects", suspectMemory},
		{"line", lineCost},
		{"compare", compareAgents},
	}
}

// A bench has the programs that the sections share.
type bench struct {
	dir   string // for files, removed at the end
	agent string // path of the program that is measured
	spawn string // path of the program of spawn/spawn.c
	other string // another agent, "" for none
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var names []string
	for _, s := range sections() {
		names = append(names, s.name)
	}
	usual := names[:len(names)-1] // compare needs another program
	only := flag.String("only", strings.Join(usual, ","), "sections to run")
	other := flag.String("against", "", "another agent's `program`, for the comparison of the section \"against\"")
	flag.Parse()
	wanted := strings.Split(*only, ",")
	for _, name := range wanted {
		if !slices.Contains(names, name) {
			return fmt.Errorf("there is no section %q, but %s", name, strings.Join(names, ", "))
		}
	}

	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{dir: dir, agent: filepath.Join(dir, "cryptnono"), spawn: filepath.Join(dir, "spawn"), other: *other}
	if err := b.build(ctx); err != nil {
		return err
	}
	printMachine()
	for _, s := range sections() {
		if !slices.Contains(wanted, s.name) {
			continue
		}
		if err := s.run(ctx, b); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

func (b *bench) build(ctx context.Context) error {
	for _, command := range [][]string{
		{"go", "build", "-trimpath", "-ldflags", "-s -w", "-o", b.agent, "./cmd/cryptnono"},
		{"cc", "-O2", "-Wall", "-Wextra", "-Werror", "-static", "-o", b.spawn, "test/bench/spawn/spawn.c"},
	} {
		cmd := exec.CommandContext(ctx, command[0], command[1:]...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", strings.Join(command, " "), err, out)
		}
	}
	return nil
}
