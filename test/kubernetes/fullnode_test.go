package kubernetes

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/cryptnono/cryptnono/test/agenttest"
)

// fullNode is what an agent and the pods of users meet on a node without room for two agents, and which
// oom_score_adj an agent has.
func fullNode(t *testing.T, word string) {
	update(t, aliveValues+"resources: {requests: {cpu: 1, memory: 256Mi}, limits: {cpu: 1, memory: 256Mi}}\n")
	hasOOMScore(t, "Guaranteed", -997)
	update(t, aliveValues+"priorityClass: {create: true}\n")
	hasOOMScore(t, "a PriorityClass of its own", burstable(t))

	notebook := fillNode(t, "notebook", cpu(t)-55) // the agent requests 50
	old := agentPod(t)
	begin(t, aliveValues+"priorityClass: {create: true}\npodAnnotations: {update: waits}\n")
	unschedulable(t)
	if !isBanned(word) || agentPod(t).Metadata.UID != old.Metadata.UID || isReady(t) != nil {
		t.Error("the old agent does not protect while the update waits")
	}

	const critical = "priorityClassName: system-node-critical\n"
	update(t, aliveValues+critical)
	hasOOMScore(t, "system-node-critical", -997)
	if notebook.isThere(t) {
		t.Error("the update has found room")
	}
	if events := must(t)(kube.kubectl("", "get", "events", "--field-selector", "reason=Preempted,involvedObject.name=notebook", "--output", "name")); events == "" {
		t.Error("no event that the notebook was preempted")
	}

	notebook = fillNode(t, "notebook", cpu(t)-55)
	update(t, aliveValues+recommended(t))
	storm := agenttest.StartStorm(t, word, aliveAddress)
	update(t, aliveValues+recommended(t)+"podAnnotations: {update: \"yes\"}\n")
	died, refused := storm.End(t, 1, 1)
	t.Logf("an update with the recommended values: none of %d execs and %d connections survived", died, refused)
	if !notebook.isThere(t) {
		t.Error("the recommended values evict a user's pod")
	}

	uninstall(t)
	other := fillNode(t, "other", 50)
	fires(t, "CryptnonoNodeWithoutAgent", `daemonset="cryptnono"`, func() {
		begin(t, aliveValues+"unpin: true\n")
		unschedulable(t)
	})
	notebook.end(t)
	other.end(t)
	retry(t, "an agent", func() error { return isReady(t) })
}

// recommended returns the values that the chart's README recommends to hubs.
func recommended(t *testing.T) string {
	t.Helper()
	m := regexp.MustCompile("(?s)we recommend\n\n```yaml\n(.*?)```").FindStringSubmatch(must(t)(readFile(abs("../../charts/cryptnono/README.md"))))
	if m == nil {
		t.Fatal("the README recommends nothing")
	}
	return m[1]
}

// begin begins to install or upgrade the release.
func begin(t *testing.T, text string) {
	t.Helper()
	upgrade(t, []string{values(t, text)})
}

// update updates the release, and waits until another agent than the one before is ready.
func update(t *testing.T, text string) {
	t.Helper()
	old := agentPod(t)
	begin(t, text)
	retry(t, "the agent of the update", func() error {
		if agentPod(t).Metadata.UID == old.Metadata.UID {
			return errNotYet
		}
		return isReady(t)
	})
}

// unschedulable waits for an agent for which the node has no room.
func unschedulable(t *testing.T) {
	t.Helper()
	retry(t, "an agent that waits", func() error {
		reasons, err := kube.kubectl("", "get", "pods", "--namespace", namespace, "--field-selector", "status.phase=Pending",
			"--output", `jsonpath={.items[*].status.conditions[?(@.type=="PodScheduled")].reason}`)
		if err == nil && reasons != "Unschedulable" {
			err = fmt.Errorf("waiting agents: %q", reasons)
		}
		return err
	})
}

// A filler is a user's pod that only takes room.
type filler struct{ name, uid string }

// fillNode starts one that requests so many thousandths of a CPU.
func fillNode(t *testing.T, name string, request int) filler {
	t.Helper()
	manifest := podManifest("default", name, strangerImage, "/bin/sleep", "3600")
	apply(t, strings.Replace(manifest, "cpu: 10m", fmt.Sprintf("cpu: %dm", request), 1))
	must(t)(kube.kubectl("", "wait", "pod", name, "--for=condition=Ready", "--timeout=1m"))
	return filler{name, must(t)(kube.kubectl("", "get", "pod", name, "--output", "jsonpath={.metadata.uid}"))}
}

// cpu returns the thousandths of a CPU that the pods of the node may request together.
func cpu(t *testing.T) int {
	t.Helper()
	cpus, err := strconv.Atoi(nodeHas(t, "allocatable.cpu"))
	if err != nil {
		t.Fatal(err)
	}
	return 1000 * cpus
}

func (f filler) isThere(t *testing.T) bool {
	t.Helper()
	return must(t)(kube.kubectl("", "get", "pods", "--field-selector", "status.phase=Running", "--output", "jsonpath={.items[?(@.metadata.uid==\""+f.uid+"\")].metadata.name}")) == f.name
}

func (f filler) end(t *testing.T) {
	t.Helper()
	must(t)(kube.kubectl("", "delete", "pod", f.name, "--now"))
}

// nodeHas returns a part of the node's status.
func nodeHas(t *testing.T, what string) string {
	t.Helper()
	return must(t)(kube.kubectl("", "get", "node", nodeName, "--output", "jsonpath={.status."+what+"}"))
}

// burstable returns the score of an agent with the default resources: the less of the node's memory it
// requests, the earlier it goes.
func burstable(t *testing.T) int64 {
	t.Helper()
	kib, err := strconv.ParseInt(strings.TrimSuffix(nodeHas(t, "capacity.memory"), "Ki"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return 1000 - 1000*128<<10/kib
}

// hasOOMScore checks what the kubelet asks the runtime for. The runtime of this machine may be unable to
// lower a score, so that /proc does not show it.
func hasOOMScore(t *testing.T, setting string, want int64) {
	t.Helper()
	conn, err := grpc.NewClient("unix://"+kube.path("mounts/run/containerd/containerd.sock"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	id := strings.TrimPrefix(agentPod(t).Status.ContainerStatuses[0].ContainerID, "containerd://")
	status, err := runtime.NewRuntimeServiceClient(conn).ContainerStatus(t.Context(), &runtime.ContainerStatusRequest{ContainerId: id, Verbose: true})
	if err != nil {
		t.Fatal(err)
	}
	info, err := decode[struct {
		Config struct {
			Linux struct {
				Resources struct {
					Score int64 `json:"oom_score_adj"`
				}
			}
		}
	}](status.GetInfo()["info"], nil)
	if got := info.Config.Linux.Resources.Score; err != nil || got != want {
		t.Errorf("%s: oom_score_adj is %d, want %d (%v)", setting, got, want, err)
	}
	t.Logf("%s: oom_score_adj %d", setting, want)
}
