package kubernetes

import (
	"crypto/rand"
	"fmt"
	"os"
	"strings"
)

// configure writes all files that the parts of the cluster read.
func (c *cluster) configure() error {
	if _, err := newPKI(c.dir); err != nil {
		return err
	}
	files := map[string]string{
		"containerd.toml": containerdConfig(c.path("cni")),
		"kubelet.yaml":    c.kubeletConfig(),
		"proxy.yaml":      c.proxyConfig(),
	}
	var tokens strings.Builder
	for name, user := range map[string][2]string{
		"admin":       {"admin", "system:masters"},
		"controllers": {"system:kube-controller-manager", ""},
		"scheduler":   {"system:kube-scheduler", ""},
		"kubelet":     {"system:node:" + nodeName, "system:nodes"},
		"proxy":       {"system:kube-proxy", ""},
	} {
		token := rand.Text()
		fmt.Fprintf(&tokens, "%s,%s,%s,%q\n", token, user[0], user[0], user[1])
		files[name+".conf"] = c.kubeconfig(token)
	}
	files["tokens.csv"] = tokens.String()
	for name, text := range files {
		if err := os.WriteFile(c.path(name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(c.path("cni"), 0o755); err != nil {
		return err
	}
	return os.WriteFile(c.path("cni/pods.conflist"), []byte(fmt.Sprintf(`{"cniVersion": "1.0.0", "name": "pods", "plugins": [{
		"type": "bridge", "bridge": "cni0", "isDefaultGateway": true, "hairpinMode": true,
		"ipam": {"type": "host-local", "dataDir": %q, "ranges": [[{"subnet": %q}]]}}]}`, c.path("addresses"), podNet)), 0o600)
}

func (c *cluster) kubeconfig(token string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: test
clusters: [{name: test, cluster: {server: "https://%s:6443", certificate-authority: %q}}]
users: [{name: test, user: {token: %s}}]
contexts: [{name: test, context: {cluster: test, user: test}}]
`, nodeIP, c.path("ca.crt"), token)
}

// containerdConfig is for containerd 1.6, Debian 12's, and for 1.7. Where a machine
// lacks CAP_SYS_RESOURCE, OOM scores cannot be lowered.
func containerdConfig(cni string) string {
	return fmt.Sprintf(`version = 2
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = %q
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = %q
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
`, pauseImage, cni)
}

func (c *cluster) kubeletConfig() string {
	return fmt.Sprintf(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
oomScoreAdj: 0
maxOpenFiles: %d
enforceNodeAllocatable: [pods]
evictionHard: {memory.available: 100Mi, nodefs.available: 1%%, imagefs.available: 1%%, nodefs.inodesFree: 1%%}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
tlsCertFile: %[2]q
tlsPrivateKeyFile: %[3]q
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: %[4]q}}
authorization: {mode: Webhook}
volumePluginDir: %[5]q
nodeStatusUpdateFrequency: 2s
syncFrequency: 1s # mounted ConfigMaps follow
# The pauses in a crash loop are shorter, as are the minutes of the alerts (alerts_test.go): from a second to three.
featureGates: {ReduceDefaultCrashLoopBackOffDecay: true, KubeletCrashLoopBackOffMax: true}
crashLoopBackOff: {maxContainerRestartPeriod: 3s}
`, openFiles(), c.path("kubelet.crt"), c.path("kubelet.key"), c.path("ca.crt"), c.path("volumeplugins"))
}

func (c *cluster) proxyConfig() string {
	return fmt.Sprintf(`apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clusterCIDR: 10.244.0.0/16
hostnameOverride: %s
clientConnection: {kubeconfig: %q}
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
`, nodeName, c.path("proxy.conf"))
}
