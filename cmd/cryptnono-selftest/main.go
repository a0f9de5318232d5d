// Command cryptnono-selftest says whether the agent protects the machine that it
// runs on. It starts itself with the self-test string of the built-in rules and
// looks how that ends. It needs no privileges and no other file, so that it can
// run in a pod of the agent's own image.
//
// It is no subcommand of cryptnono, whose program file the agent never kills,
// and no part of the agent, which never starts a program.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"
)

const (
	banned   = "cryptnono.BANNED.string1"
	harmless = "cryptnono.harmless.string1"
	again    = 500 * time.Millisecond // between two attempts
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout))
}

// run returns the exit status: 0 if all is as expected, 1 if not, 2 for wrong
// arguments.
func run(ctx context.Context, args []string, out io.Writer) int {
	flags := flag.NewFlagSet("cryptnono-selftest", flag.ContinueOnError)
	flags.SetOutput(out)
	expect := flags.String("expect", "killed", "what becomes of the banned program: killed or alive")
	timeout := flags.Duration("timeout", time.Minute, "how long to try again until it is killed")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	// With an argument it is the program that was started below, and ends well.
	if flags.NArg() > 0 {
		return 0
	}
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	var err error
	switch *expect {
	case "killed":
		err = dies(ctx)
	case "alive":
		err = lives(ctx, banned)
	default:
		fmt.Fprintf(out, "-expect is killed or alive, not %q\n", *expect)
		return 2
	}
	if err == nil {
		err = lives(ctx, harmless)
	}
	if err != nil {
		fmt.Fprintf(out, "FAIL %v\n", err)
		return 1
	}
	fmt.Fprintf(out, "ok   a program with the argument %s was as expected: %s; one with %s lived\n", banned, *expect, harmless)
	return 0
}

// dies returns nil once a banned program is killed. An agent may still be on its
// way, so it tries until ctx ends.
func dies(ctx context.Context) error {
	for {
		killed, err := start(ctx, banned)
		if err != nil || killed {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("a program with the argument %s was not killed: no agent protects this machine, or it spares this process", banned)
		case <-time.After(again):
		}
	}
}

// lives returns nil if a program with an argument ends as it wants to.
func lives(ctx context.Context, argument string) error {
	killed, err := start(ctx, argument)
	if err == nil && killed {
		err = fmt.Errorf("a program with the argument %s was killed", argument)
	}
	return err
}

// start runs this program once more with an argument, and says whether it was
// killed.
func start(ctx context.Context, argument string) (killed bool, err error) {
	err = exec.CommandContext(ctx, "/proc/self/exe", argument).Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && ctx.Err() == nil {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signal() == syscall.SIGKILL {
			return true, nil
		}
	}
	if err != nil {
		return false, fmt.Errorf("running a program with the argument %s: %w", argument, err)
	}
	return false, nil
}
