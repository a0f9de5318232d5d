package kubernetes

import (
	"os"
	"strings"
	"testing"
)

// The whole way of a release: it is published into a registry on the node by the scripts of
// a real one, and Helm and the node pull chart and image from there. It needs what `make
// release-dry-run` builds, which runs it.
func TestAReleaseIsInstalledFromItsRegistry(t *testing.T) {
	tools := os.Getenv("RELEASE_TOOLS")
	if tools == "" {
		t.Skip("run `make release-dry-run`")
	}
	tag := strings.TrimPrefix(version, "v")
	chart := "oci://" + os.Getenv("REGISTRY") + "/charts/cryptnono"
	out := must(t)(output(kube.inside("env", "PATH="+tools+":"+os.Getenv("PATH"), "REGISTRY="+os.Getenv("REGISTRY"),
		abs("../../scripts/release-dry-run"), version,
		"helm", "install", release, chart, "--version", tag, "--plain-http", "--kubeconfig", kube.path("admin.conf"),
		"--namespace", "released", "--create-namespace", "--wait", "--timeout", "2m")))
	t.Log(out)
	images := must(t)(kube.kubectl("", "get", "pods", "--namespace", "released", "--output", "jsonpath={.items[*].status.containerStatuses[*].imageID}"))
	if !strings.HasPrefix(images, os.Getenv("REGISTRY")+"/cryptnono@sha256:") {
		t.Errorf("the agent's image is %q", images)
	}
	must(t)(kube.helm("", "test", release, "--namespace", "released", "--timeout", "2m"))
	must(t)(kube.helm("", "uninstall", release, "--namespace", "released", "--wait", "--timeout", "1m"))
}
