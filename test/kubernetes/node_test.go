package kubernetes

import (
	"bufio"
	"context"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A node is what a cluster runs on: network and mounts of its own, containerd, and
// the processes and the kernel of this machine.
type node struct {
	dir       string // of all files
	namespace string // pid of a process in the namespaces
	processes []*exec.Cmd
}

// cgroups are those that containerd and the kubelet make.
var cgroups = []string{"kubepods", "k8s.io"}

func newNode(t *testing.T) *node {
	t.Helper()
	if found := ownCgroups(t); len(found) > 0 {
		t.Fatalf("another Kubernetes is at work: %v", found)
	}
	n := &node{dir: t.TempDir()}
	holder := exec.Command("unshare", "--net", "--mount", "--propagation=private", "testdata/node.sh", n.dir)
	holder.Stderr = os.Stderr
	stdout, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	n.processes = append(n.processes, holder)
	n.namespace = strconv.Itoa(holder.Process.Pid)
	t.Cleanup(func() { n.end(t) })
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "up\n" {
		t.Fatalf("the node does not come up: %q, %v", line, err)
	}
	return n
}

// command is a program that runs on the node.
func (n *node) command(args ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{"--target", n.namespace, "--net", "--mount", "--"}, args...)...)
}

// start starts a program that runs until the node ends. Its log is shown if the test
// fails.
func (n *node) start(t *testing.T, args ...string) {
	t.Helper()
	cmd := n.command(args...)
	name := filepath.Base(args[0])
	if name == "hyperkube" {
		name = args[1]
	}
	log, err := os.Create(filepath.Join(n.dir, name+".log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	n.processes = append(n.processes, cmd)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the last of %s:\n%s", name, tail(log.Name()))
		}
	})
}

func tail(file string) string {
	text, _ := os.ReadFile(file)
	lines := strings.Split(string(text), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}

// try runs a program on the node, and returns what it prints and whether it succeeds.
func (n *node) try(args ...string) (string, bool) {
	out, err := n.command(args...).CombinedOutput()
	return string(out), err == nil
}

// run runs one that must succeed.
func (n *node) run(t *testing.T, args ...string) string {
	t.Helper()
	out, ok := n.try(args...)
	if !ok {
		t.Fatalf("%s:\n%s", strings.Join(args, " "), out)
	}
	return out
}

func (n *node) startContainerd(t *testing.T) {
	t.Helper()
	write(t, filepath.Join(n.dir, "cni/10-pods.conflist"), expand(t, "testdata/cni.conflist", "@DIR@", n.dir))
	config := filepath.Join(n.dir, "containerd.toml")
	write(t, config, expand(t, "testdata/containerd.toml", "@DIR@", n.dir))
	n.start(t, "containerd", "--log-level=warn", "--config", config)
	eventually(t, "containerd", func() bool { _, ok := n.try("ctr", "version"); return ok })
}

// client speaks HTTP in the node's network.
func (n *node) client() *http.Client {
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		type result struct {
			conn net.Conn
			err  error
		}
		done := make(chan result)
		go func() {
			// The thread is not unlocked, and so ends with the goroutine.
			runtime.LockOSThread()
			fd, err := unix.Open("/proc/"+n.namespace+"/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err == nil {
				defer unix.Close(fd)
				err = unix.Setns(fd, unix.CLONE_NEWNET)
			}
			if err != nil {
				done <- result{nil, err}
				return
			}
			conn, err := new(net.Dialer).DialContext(ctx, network, address)
			done <- result{conn, err}
		}()
		r := <-done
		return r.conn, r.err
	}
	return &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}, Timeout: 10 * time.Second}
}

// end ends all processes of the node and removes their cgroups: first the kubelet,
// or it would start more.
func (n *node) end(t *testing.T) {
	for _, p := range n.processes[1:] {
		if strings.Contains(strings.Join(p.Args, " "), " kubelet ") {
			_ = p.Process.Kill()
		}
	}
	eventually(t, "the end of all containers", func() bool {
		alive := 0
		for _, dir := range ownCgroups(t) {
			_ = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, _ error) error {
				if filepath.Base(path) == "cgroup.procs" {
					procs, _ := os.ReadFile(path)
					for pid := range strings.FieldsSeq(string(procs)) {
						alive++
						kill(pid)
					}
				}
				return nil
			})
		}
		return alive == 0
	})
	for _, p := range n.processes[1:] {
		_ = p.Process.Kill()
		_ = p.Wait()
	}
	// Shims, and whatever else is in the node's namespaces.
	eventually(t, "the end of all processes", func() bool {
		mine, err := os.Readlink("/proc/" + n.namespace + "/ns/mnt")
		if err != nil {
			return true
		}
		links, _ := filepath.Glob("/proc/[0-9]*/ns/mnt")
		alive := 0
		for _, link := range links {
			pid := strings.Split(link, "/")[2]
			if ns, err := os.Readlink(link); err == nil && ns == mine && pid != n.namespace {
				alive++
				kill(pid)
			}
		}
		return alive == 0
	})
	_ = n.processes[0].Process.Kill()
	_ = n.processes[0].Wait()
	eventually(t, "empty cgroups", func() bool {
		for _, dir := range ownCgroups(t) {
			_ = exec.Command("find", dir, "-depth", "-type", "d", "-delete").Run()
		}
		return len(ownCgroups(t)) == 0
	})
	// Those that were there before are not empty, or in use.
	for _, dir := range []string{"/var/lib/kubelet", "/run/containerd", "/run/netns", "/var/log/pods", "/var/log/containers"} {
		_ = os.Remove(dir)
	}
}

func kill(pid string) {
	if p, err := strconv.Atoi(pid); err == nil && p > 1 {
		_ = syscall.Kill(p, syscall.SIGKILL)
	}
}

// ownCgroups returns the paths of those that containers are put into.
func ownCgroups(t *testing.T) []string {
	t.Helper()
	var found []string
	for _, name := range cgroups {
		for _, pattern := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} {
			paths, err := filepath.Glob(pattern + name)
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, paths...)
		}
	}
	return found
}
