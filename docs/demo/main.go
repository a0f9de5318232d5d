// Demo makes docs/demo/demo.svg, the picture in the README: two terminals of a real run
// of the agent with its built-in defaults, one of a user who mines and one of root.
//
// The text is what the terminals show; only its line breaks and colours are made here.
// What would name this machine is set up for the run: the hostname in a UTS namespace,
// the home directory in a mount namespace, and the cgroup of the session.
//
// It needs root, bash, a C compiler and librandomx, and to be run at the root of the
// repository, where bin/ has the agent: `make demo`.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	hostname = "node-1"
	home     = "/home/jovyan"
	userID   = 1000
	session  = "user.slice/user-1000.slice/session-3.scope"
	columns  = 100
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, "docs/demo/demo.svg"); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, file string) error {
	runtime.LockOSThread() // the namespaces are the thread's, and of what it starts
	if err := unix.Unshare(unix.CLONE_NEWUTS); err != nil {
		return fmt.Errorf("making a UTS namespace: %w", err)
	}
	if err := unix.Sethostname([]byte(hostname)); err != nil {
		return err
	}
	bin, err := filepath.Abs("bin")
	if err != nil {
		return err
	}
	shell := exec.Command("bash", "--norc", "--noprofile", "--noediting")
	shell.Env = []string{"PATH=" + bin + ":/bin"}
	root, err := openTerminal(ctx, "root@"+hostname+":~# ", shell)
	if err != nil {
		return err
	}
	defer root.close()
	if err := root.run(ctx, "cryptnono run", `"msg":"ready".*\n`); err != nil {
		return err
	}
	user, err := mine(ctx)
	if err != nil {
		return err
	}
	if err := root.wait(ctx, `"detector":"monero".*\n`); err != nil {
		return err
	}
	return os.WriteFile(file, svg(pane{"A user's terminal", user}, pane{"The agent's log", root.lines()}), 0o644)
}

// mine is the user's session: it returns what the terminal shows at the end.
func mine(ctx context.Context) ([]string, error) {
	if err := makeHome(ctx); err != nil {
		return nil, err
	}
	cgroups := makeCgroups()
	defer removeCgroups(cgroups)
	shell := exec.Command("bash", "--norc", "--noprofile", "--noediting")
	shell.Dir, shell.Env = home, []string{"PATH=/bin"}
	shell.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: userID, Gid: userID}}
	const prompt = "jovyan@" + hostname + ":~$ "
	user, err := openTerminal(ctx, prompt, shell)
	if err != nil {
		return nil, err
	}
	defer user.close()
	if err := enter(cgroups, shell.Process.Pid); err != nil {
		return nil, err
	}
	next := regexp.QuoteMeta(prompt) + "$"
	for _, c := range []struct{ line, until string }{
		{"cp /bin/sleep xmrig", next},
		{"./xmrig --url pool.example:3333", `Killed\s+` + next},
		{"./python3 1 light jit # computes RandomX", `mining\s+Killed\s+` + next},
	} {
		if err := user.run(ctx, c.line, c.until); err != nil {
			return nil, err
		}
	}
	return user.lines(), nil
}

// makeHome makes a home directory that only this thread and what it starts can see. In
// it is a program that computes RandomX, as miners do.
func makeHome(ctx context.Context) error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("making a mount namespace: %w", err)
	}
	err := errors.Join(
		unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mount("tmpfs", filepath.Dir(home), "tmpfs", 0, "mode=755"),
		os.Mkdir(home, 0o755),
		os.Chown(home, userID, userID),
	)
	if err != nil {
		return fmt.Errorf("making the home directory: %w", err)
	}
	cc := exec.CommandContext(ctx, "cc", "-O2", "-pthread", "-o", home+"/python3", "test/victims/randomx_miner.c", "-lrandomx")
	if out, err := cc.CombinedOutput(); err != nil {
		return fmt.Errorf("compiling the miner: %w\n%s", err, out)
	}
	return nil
}

// makeCgroups makes the session's cgroup in each hierarchy that allows it.
func makeCgroups() (made []string) {
	v1, _ := filepath.Glob("/sys/fs/cgroup/*/cgroup.procs")
	v2, _ := filepath.Glob("/sys/fs/cgroup/cgroup.procs")
	for _, procs := range append(v1, v2...) {
		dir := filepath.Join(filepath.Dir(procs), session)
		if os.MkdirAll(dir, 0o755) == nil {
			made = append(made, dir)
		}
	}
	return made
}

// enter moves a process into the cgroups. Some, as those of cpuset, take no process as
// they are.
func enter(cgroups []string, pid int) error {
	entered := false
	for _, dir := range cgroups {
		f, err := os.OpenFile(dir+"/cgroup.procs", os.O_WRONLY, 0)
		if err != nil {
			continue
		}
		_, err = f.WriteString(strconv.Itoa(pid))
		f.Close()
		entered = entered || err == nil
	}
	if !entered {
		return errors.New("no cgroup takes the shell")
	}
	return nil
}

// removeCgroups removes what makeCgroups made, and the folders above that are empty then.
func removeCgroups(cgroups []string) {
	for _, dir := range cgroups {
		for range 3 { // folders of session
			_ = unix.Rmdir(dir)
			dir = filepath.Dir(dir)
		}
	}
}
