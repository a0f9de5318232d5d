// Command cryptnono-selftest checks that an agent protects this machine. It starts
// itself with the self-test string of the built-in rules and checks that this process
// is killed. It needs no privileges and no other file, so it can run in a pod of the
// agent's own image. In Kubernetes it can also ask the agents of all nodes.
//
// It is not a subcommand of cryptnono, because the agent never kills its own program
// file.
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
	"strings"
	"syscall"
	"time"
)

const (
	banned        = "cryptnono.BANNED.string1"
	harmless      = "cryptnono.harmless.string1"
	retryInterval = 500 * time.Millisecond
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout))
}

// run returns the exit status: 0 if the result is as expected, 1 if not, 2 for invalid
// arguments.
func run(ctx context.Context, args []string, out io.Writer) int {
	flags := flag.NewFlagSet("cryptnono-selftest", flag.ContinueOnError)
	flags.SetOutput(out)
	expect := flags.String("expect", "killed", "expected result for the banned program: killed or alive")
	target := flags.String("agents", "", "`NAMESPACE/DAEMONSET` of the agents: each must be ready, and the one on -node must count the verdict")
	node := flags.String("node", os.Getenv("NODE_NAME"), "name of this node")
	timeout := flags.Duration("timeout", time.Minute, "how long to retry until the banned program is killed")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	// With an argument, this process was started by start: it exits successfully.
	if flags.NArg() > 0 {
		return 0
	}
	if *expect != "killed" && *expect != "alive" {
		fmt.Fprintf(out, "-expect must be killed or alive, not %q\n", *expect)
		return 2
	}
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	var all *agents
	if *target != "" {
		var err error
		if all, err = inCluster(*target, *node, credentials); err != nil {
			fmt.Fprintf(out, "FAIL %v\n", err)
			return 2
		}
	}
	if err := test(ctx, *expect, all, out); err != nil {
		fmt.Fprintf(out, "FAIL %v\n", err)
		return 1
	}
	return 0
}

// test starts the banned program, and one that is not banned. With agents, it first asks
// each of them, and then checks that it was the one on this node that decided.
func test(ctx context.Context, expect string, all *agents, out io.Writer) error {
	var killed, alive float64
	if all != nil {
		nodes, err := all.allReady(ctx)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "ok   an agent is ready on each of %d nodes: %s\n", len(nodes), strings.Join(nodes, ", "))
		if killed, alive, err = all.verdicts(ctx); err != nil {
			return err
		}
	}
	try := expectKilled
	if expect == "alive" {
		try = func(ctx context.Context) error { return expectAlive(ctx, banned) }
	}
	if err := errors.Join(try(ctx), expectAlive(ctx, harmless)); err != nil {
		return err
	}
	fmt.Fprintf(out, "ok   as expected: a program with the argument %s is %s, one with %s is alive\n", banned, expect, harmless)
	if all == nil {
		return nil
	}
	if err := all.counted(ctx, expect, killed, alive); err != nil {
		return err
	}
	fmt.Fprintf(out, "ok   the agent on node %s has counted it\n", all.node)
	return nil
}

// expectKilled returns nil once a banned program is killed. It retries until ctx ends,
// because the agent may still be starting.
func expectKilled(ctx context.Context) error {
	for {
		killed, err := start(ctx, banned)
		if err != nil || killed {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("a program with the argument %s was not killed: no agent protects this machine, or an exemption applies", banned)
		case <-time.After(retryInterval):
		}
	}
}

// expectAlive returns nil if a program with an argument is not killed.
func expectAlive(ctx context.Context, argument string) error {
	killed, err := start(ctx, argument)
	if err == nil && killed {
		err = fmt.Errorf("a program with the argument %s was killed, and it should live: another agent may run on this node, look for it with: kubectl get daemonsets --all-namespaces", argument)
	}
	return err
}

// start runs this program with an argument and reports whether it was killed.
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
