package runtimes

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

const testImage = "registry.example/team/idle:1.2"

// A containerd is a real containerd with its CRI plugin, on its own host.
type containerd struct {
	*host
	daemon *daemon
	config string
	image  string // id
	runtime.RuntimeServiceClient
}

func newContainerd(t *testing.T) *containerd {
	t.Helper()
	c := &containerd{host: newHost(t)}
	c.config = c.write("containerd.toml", fmt.Sprintf(`version = 2
root = "%[1]s/root"
state = "%[1]s/state"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.aufs"]
[grpc]
address = "%[1]s/run/containerd.sock"
[ttrpc]
address = "%[1]s/containerd.ttrpc"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "%[2]s"
restrict_oom_score_adj = true # this machine may lack CAP_SYS_RESOURCE
disable_apparmor = true
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "native" # works on any file system
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
`, c.dir, testImage))
	image, id := ociImage(t, testImage)
	c.write("image.tar", string(image))
	c.image = id
	c.restart()
	conn, err := grpc.NewClient("unix://"+c.path("run/containerd.sock"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c.RuntimeServiceClient = runtime.NewRuntimeServiceClient(conn)
	testutil.Eventually(t, "containerd", func() bool {
		_, err := c.Version(t.Context(), &runtime.VersionRequest{})
		return err == nil
	})
	c.run("ctr", "--address", c.path("run/containerd.sock"), "--namespace=k8s.io", "images", "import", "--snapshotter=native", c.path("image.tar"))
	return c
}

func (c *containerd) restart() {
	c.t.Helper()
	if c.daemon != nil {
		c.daemon.kill()
	}
	c.daemon = c.start("containerd", "--log-level=warn", "--config", c.config)
}

// resolver returns a resolver for the host, like that of an agent in a pod.
func (c *containerd) resolver(nested ...string) *Resolver {
	return open(c.t, Options{
		Sockets:       []string{"/nowhere.sock", "/run/containerd/containerd.sock"},
		NestedSockets: append([]string{"/nowhere/docker.sock"}, nested...),
		Root:          fmt.Sprintf("/proc/%d/root", c.pid),
		Annotations:   []string{"hub.jupyter.org/username", "hub.jupyter.org/servername", "absent"},
	})
}

// sandbox starts a pod, without containers.
func (c *containerd) sandbox(config *runtime.PodSandboxConfig) string {
	c.t.Helper()
	answer, err := c.RunPodSandbox(c.t.Context(), &runtime.RunPodSandboxRequest{Config: config})
	if err != nil {
		c.t.Fatal(err)
	}
	return answer.GetPodSandboxId()
}

// create creates a container in a pod without starting it.
func (c *containerd) create(pod string, config *runtime.PodSandboxConfig, container *runtime.ContainerConfig) string {
	c.t.Helper()
	answer, err := c.CreateContainer(c.t.Context(), &runtime.CreateContainerRequest{
		PodSandboxId: pod, SandboxConfig: config, Config: container,
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return answer.GetContainerId()
}

func (c *containerd) startContainer(id string) {
	c.t.Helper()
	if _, err := c.StartContainer(c.t.Context(), &runtime.StartContainerRequest{ContainerId: id}); err != nil {
		c.t.Fatal(err)
	}
}

// remove ends a pod and its containers.
func (c *containerd) remove(pod string) {
	c.t.Helper()
	if _, err := c.RemovePodSandbox(c.t.Context(), &runtime.RemovePodSandboxRequest{PodSandboxId: pod}); err != nil {
		c.t.Fatal(err)
	}
}

// podConfig returns the configuration of a pod, as the kubelet sends it.
func podConfig(name, uid, cgroup string) *runtime.PodSandboxConfig {
	return &runtime.PodSandboxConfig{
		Metadata: &runtime.PodSandboxMetadata{Name: name, Namespace: "binder", Uid: uid},
		Labels: map[string]string{
			"app": "hub", "component": "singleuser-server",
			podLabel: name, namespaceKey: "binder", uidLabel: uid,
		},
		Annotations: map[string]string{
			"hub.jupyter.org/username": "ada@example.com", "hub.jupyter.org/servername": strings.Repeat("x", 10_000), "other": "y",
		},
		Linux: &runtime.LinuxPodSandboxConfig{
			CgroupParent: cgroup,
			// Without CNI.
			SecurityContext: &runtime.LinuxSandboxSecurityContext{NamespaceOptions: hostNetwork()},
		},
	}
}

// containerConfig returns the configuration of a container, as the kubelet sends it: with
// the id of the image.
func (c *containerd) containerConfig(name string, args ...string) *runtime.ContainerConfig {
	return &runtime.ContainerConfig{
		Metadata: &runtime.ContainerMetadata{Name: name},
		Image:    &runtime.ImageSpec{Image: c.image},
		Args:     args,
		Labels:   map[string]string{nameLabel: name, podLabel: "x", "io.kubernetes.container.hash": "1"},
	}
}

func hostNetwork() *runtime.NamespaceOption {
	return &runtime.NamespaceOption{Network: runtime.NamespaceMode_NODE}
}
