package kubernetes

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	nodeName = "node1"
	nodeIP   = "198.51.100.10"
	apiIP    = "10.96.0.1" // of the API server, as pods see it
	podNet   = "10.244.0.0/24"

	// patience is how long a slow machine may take for what happens in the end.
	patience = 2 * time.Minute
)

// A cluster is a Kubernetes of one node, in network and mount namespaces of its own,
// and in the PID namespace of this machine.
type cluster struct {
	dir   string // for all its files
	bin   string // of hyperkube and helm
	node  *exec.Cmd
	parts []*part // in the order in which they were started
}

// A part is a component that runs.
type part struct {
	name  string
	cmd   *exec.Cmd
	ended chan struct{}
}

// newCluster starts a cluster with the images in these files, and waits until it is of
// use. What it has started when it fails is for down to end.
func newCluster(bin, dir string, images []string) (*cluster, error) {
	c := &cluster{dir: dir, bin: bin}
	if err := c.startNode(); err != nil {
		return c, fmt.Errorf("making the namespaces: %w", err)
	}
	if err := c.configure(); err != nil {
		return c, fmt.Errorf("writing the configuration: %w", err)
	}
	c.start("containerd", "containerd", "-c", c.path("containerd.toml"))
	c.hyperkube("etcd", "--data-dir", c.path("etcd"), "--unsafe-no-fsync", "--logger=zap", "--log-level=warn",
		"--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379", "--listen-peer-urls=http://127.0.0.1:2380")
	c.hyperkube("kube-apiserver", "--etcd-servers=http://127.0.0.1:2379", "--advertise-address="+nodeIP,
		"--service-cluster-ip-range=10.96.0.0/16", "--authorization-mode=Node,RBAC", "--allow-privileged=true",
		"--token-auth-file="+c.path("tokens.csv"), "--client-ca-file="+c.path("ca.crt"),
		"--tls-cert-file="+c.path("apiserver.crt"), "--tls-private-key-file="+c.path("apiserver.key"),
		"--kubelet-client-certificate="+c.path("kubelet-client.crt"), "--kubelet-client-key="+c.path("kubelet-client.key"),
		"--kubelet-certificate-authority="+c.path("ca.crt"), "--kubelet-preferred-address-types=InternalIP",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file="+c.path("sa.pub"), "--service-account-signing-key-file="+c.path("sa.key"))
	if err := c.eventually("containerd", func() error { return c.ctr("version") }); err != nil {
		return c, err
	}
	for _, file := range images {
		if err := c.ctr("images", "import", file); err != nil {
			return c, err
		}
	}
	if err := c.eventually("the API server", func() error { _, err := c.kubectl("", "get", "--raw", "/readyz"); return err }); err != nil {
		return c, err
	}
	c.hyperkube("kube-controller-manager", "--kubeconfig="+c.path("controllers.conf"), "--leader-elect=false", "--bind-address=127.0.0.1",
		"--use-service-account-credentials=true", "--service-account-private-key-file="+c.path("sa.key"), "--root-ca-file="+c.path("ca.crt"))
	c.hyperkube("kube-scheduler", "--kubeconfig="+c.path("scheduler.conf"), "--leader-elect=false", "--bind-address=127.0.0.1")
	c.hyperkube("kubelet", "--config="+c.path("kubelet.yaml"), "--kubeconfig="+c.path("kubelet.conf"), "--hostname-override="+nodeName, "--node-ip="+nodeIP)
	c.hyperkube("kube-proxy", "--config="+c.path("proxy.yaml"))
	return c, c.eventually("the node", func() error {
		if _, err := c.kubectl("", "wait", "--for=condition=Ready", "node/"+nodeName, "--timeout=1s"); err != nil {
			return err
		}
		_, err := c.kubectl("", "get", "serviceaccount", "default")
		return err
	})
}

func (c *cluster) path(name string) string { return filepath.Join(c.dir, name) }

func (c *cluster) startNode() error {
	c.node = exec.Command("unshare", "--net", "--mount", "./node.sh", c.dir)
	c.node.Env = append(os.Environ(), "NODE_IP="+nodeIP)
	c.node.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	c.node.Stderr = os.Stderr
	if err := c.node.Start(); err != nil {
		return err
	}
	return c.eventually("the node's namespaces", func() error { _, err := os.Stat(c.path("ready")); return err })
}

// inside returns a command in the namespaces of the node.
func (c *cluster) inside(name string, args ...string) *exec.Cmd {
	cmd := exec.Command("nsenter", append([]string{"--target", strconv.Itoa(c.node.Process.Pid), "--net", "--mount", "--", name}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

func (c *cluster) hyperkube(component string, args ...string) {
	c.start(component, filepath.Join(c.bin, "hyperkube"), append([]string{component}, args...)...)
}

// start starts a part, whose log is NAME.log. That it ends is seen by what it does
// not do.
func (c *cluster) start(name, program string, args ...string) {
	p := &part{name: name, cmd: c.inside(program, args...), ended: make(chan struct{})}
	log, err := os.Create(c.path(name + ".log"))
	if err != nil {
		panic(err)
	}
	defer log.Close()
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		panic(err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait()
	}()
	c.parts = append(c.parts, p)
}

// output runs a command to its end. The error has what it wrote.
func output(cmd *exec.Cmd) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s: %w\n%s%s", strings.Join(cmd.Args[6:], " "), err, stdout.Bytes(), stderr.Bytes())
	}
	return stdout.String(), nil
}

func (c *cluster) ctr(args ...string) error {
	_, err := output(c.inside("ctr", append([]string{"--namespace", "k8s.io"}, args...)...))
	return err
}

// kubectl returns what kubectl writes, with stdin as its standard input. No word that
// is banned may be among args: kubectl itself would be killed.
func (c *cluster) kubectl(stdin string, args ...string) (string, error) {
	cmd := c.inside(filepath.Join(c.bin, "hyperkube"), append([]string{"kubectl", "--kubeconfig", c.path("admin.conf")}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	return output(cmd)
}

func (c *cluster) helm(stdin string, args ...string) (string, error) {
	cmd := c.inside(filepath.Join(c.bin, "helm"), append([]string{"--kubeconfig", c.path("admin.conf")}, args...)...)
	cmd.Env = append(os.Environ(), "HELM_CACHE_HOME="+c.path("helm"), "HELM_CONFIG_HOME="+c.path("helm"), "HELM_DATA_HOME="+c.path("helm"))
	cmd.Stdin = strings.NewReader(stdin)
	return output(cmd)
}

// eventually waits for something that happens in the end.
func (c *cluster) eventually(what string, try func() error) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("never seen: %s: %w", what, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// cgroups are where the containers of the node are.
func cgroups() []string {
	var all []string
	for _, pattern := range []string{"/sys/fs/cgroup/kubepods", "/sys/fs/cgroup/k8s.io", "/sys/fs/cgroup/*/kubepods", "/sys/fs/cgroup/*/k8s.io"} {
		found, _ := filepath.Glob(pattern)
		all = append(all, found...)
	}
	return all
}

// down ends the cluster. Nothing is left of it but its log files; the error says what
// is.
func (c *cluster) down() error {
	for _, p := range slices.Backward(c.parts) {
		if p.name != "containerd" {
			p.end()
		}
	}
	for end := time.Now().Add(patience); len(members()) > 0 && time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		for _, pid := range members() {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	time.Sleep(500 * time.Millisecond) // shims clean up
	for _, p := range c.parts {
		p.end()
	}
	if c.node != nil && c.node.Process != nil {
		for _, pid := range c.sharers() {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		_ = c.node.Process.Kill()
		_ = c.node.Wait()
	}
	return c.eventually("the end of its cgroups", func() error {
		for _, root := range cgroups() {
			out, err := exec.Command("find", root, "-depth", "-type", "d", "-exec", "rmdir", "{}", ";").CombinedOutput()
			if err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
		}
		if left := cgroups(); len(left) > 0 {
			return fmt.Errorf("%v are left", left)
		}
		return nil
	})
}

func (p *part) end() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(5 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

// members returns the processes in the cgroups of containers.
func members() []int {
	var pids []int
	for _, root := range cgroups() {
		_ = filepath.WalkDir(root, func(path string, _ os.DirEntry, _ error) error {
			if filepath.Base(path) == "cgroup.procs" {
				text, _ := os.ReadFile(path)
				for pid := range strings.FieldsSeq(string(text)) {
					if n, err := strconv.Atoi(pid); err == nil {
						pids = append(pids, n)
					}
				}
			}
			return nil
		})
	}
	return pids
}

// sharers returns the processes in the node's mount namespace, but for the node's own.
func (c *cluster) sharers() []int {
	own, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", c.node.Process.Pid))
	if err != nil {
		return nil
	}
	var pids []int
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == c.node.Process.Pid {
			continue
		}
		if its, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", pid)); err == nil && its == own {
			pids = append(pids, pid)
		}
	}
	return pids
}

// decode reads what kubectl or an API writes as JSON.
func decode[T any](text string, err error) (T, error) {
	var v T
	if err == nil {
		err = json.Unmarshal([]byte(text), &v)
	}
	return v, err
}

// errNotYet says that something has not happened so far.
var errNotYet = errors.New("not yet")
