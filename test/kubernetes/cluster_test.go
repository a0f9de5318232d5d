package kubernetes

import (
	"bytes"
	"crypto/x509/pkix"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	nodeName    = "node1"
	nodeAddress = "198.51.100.10"
	services    = "10.96.0.0/16"
)

// A cluster is a Kubernetes of one node, with the components that every other has.
type cluster struct {
	*node
	hyperkube, helmProgram string
}

// newCluster starts one and waits until pods can be made. All of it is gone when the
// test has ended.
func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{node: newNode(t)}
	programs := strings.TrimSpace(output(t, "../../scripts/build-kubernetes"))
	c.hyperkube, c.helmProgram = filepath.Join(programs, "hyperkube"), filepath.Join(programs, "helm")

	ca := newAuthority(t, c.dir)
	ca.sign(t, "apiserver", pkix.Name{CommonName: "kube-apiserver"}, "localhost", "kubernetes.default.svc", "127.0.0.1", nodeAddress, "10.96.0.1")
	ca.sign(t, "kubelet-client", pkix.Name{CommonName: "kubelet-client", Organization: []string{"system:masters"}})
	ca.sign(t, "kubelet", pkix.Name{CommonName: nodeName}, nodeName, nodeAddress)
	ca.writeKey(t, "accounts")
	ca.users(t, "https://"+nodeAddress+":6443", map[string]string{
		"admin":     "admin system:masters",
		"manager":   "system:kube-controller-manager",
		"scheduler": "system:kube-scheduler",
		"kubelet":   "system:node:" + nodeName + " system:nodes",
	})
	c.startContainerd(t)

	in := func(file string) string { return filepath.Join(c.dir, file) }
	c.start(t, c.hyperkube, "etcd", "--data-dir="+in("etcd"), "--unsafe-no-fsync",
		"--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379",
		"--listen-peer-urls=http://127.0.0.1:2380", "--log-level=warn")
	c.start(t, c.hyperkube, "kube-apiserver", "--etcd-servers=http://127.0.0.1:2379",
		"--advertise-address="+nodeAddress, "--secure-port=6443", "--service-cluster-ip-range="+services,
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged=true",
		"--token-auth-file="+in("tokens.csv"), "--client-ca-file="+in("ca.crt"),
		"--tls-cert-file="+in("apiserver.crt"), "--tls-private-key-file="+in("apiserver.key"),
		"--kubelet-client-certificate="+in("kubelet-client.crt"), "--kubelet-client-key="+in("kubelet-client.key"),
		"--kubelet-certificate-authority="+in("ca.crt"), "--kubelet-preferred-address-types=InternalIP",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file="+in("accounts.key"), "--service-account-signing-key-file="+in("accounts.key"))
	c.importImages(t)
	eventually(t, "a ready API server", func() bool { _, ok := c.try(c.kubectl("get", "--raw", "/readyz")...); return ok })

	c.start(t, c.hyperkube, "kube-controller-manager", "--kubeconfig="+in("manager.kubeconfig"), "--leader-elect=false",
		"--bind-address=127.0.0.1", "--use-service-account-credentials=true",
		"--service-account-private-key-file="+in("accounts.key"), "--root-ca-file="+in("ca.crt"))
	c.start(t, c.hyperkube, "kube-scheduler", "--kubeconfig="+in("scheduler.kubeconfig"), "--leader-elect=false", "--bind-address=127.0.0.1")
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		t.Fatal(err)
	}
	write(t, in("kubelet.yaml"), expand(t, "testdata/kubelet.yaml", "@DIR@", c.dir, "@FILES@", fmt.Sprint(files.Max)))
	c.start(t, c.hyperkube, "kubelet", "--config="+in("kubelet.yaml"), "--kubeconfig="+in("kubelet.kubeconfig"),
		"--hostname-override="+nodeName, "--node-ip="+nodeAddress)
	eventually(t, "the node", func() bool { _, ok := c.try(c.kubectl("get", "node", nodeName)...); return ok })
	c.run(t, c.kubectl("wait", "--for=condition=Ready", "node/"+nodeName, "--timeout=60s")...)
	eventually(t, "the account of pods", func() bool { _, ok := c.try(c.kubectl("get", "serviceaccount", "default")...); return ok })
	return c
}

// kubectl returns the command line of kubectl with these arguments.
func (c *cluster) kubectl(args ...string) []string {
	return append([]string{c.hyperkube, "kubectl", "--kubeconfig=" + filepath.Join(c.dir, "admin.kubeconfig")}, args...)
}

// helm returns that of Helm.
func (c *cluster) helm(args ...string) []string {
	return append([]string{c.helmProgram, "--kubeconfig=" + filepath.Join(c.dir, "admin.kubeconfig")}, args...)
}

// apply makes what a manifest describes.
func (c *cluster) apply(t *testing.T, manifest string) {
	t.Helper()
	cmd := c.command(c.kubectl("apply", "-f", "-")...)
	cmd.Stdin = strings.NewReader(manifest)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("applying: %v\n%s\n%s", err, out, manifest)
	}
}

// expand returns a file with words in it replaced.
func expand(t *testing.T, file string, words ...string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.NewReplacer(words...).Replace(string(text))
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// output runs a program of the machine, which must succeed, and returns what it
// prints to standard output.
func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	var errors bytes.Buffer
	cmd.Stderr = &errors
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, errors.String())
	}
	return string(out)
}

// patience is how long a slow machine may take for what happens in the end.
const patience = 90 * time.Second

func eventually(t *testing.T, what string, happened func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !happened(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never seen: %s", what)
		}
	}
}
