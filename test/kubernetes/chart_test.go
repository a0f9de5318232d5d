package kubernetes

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

// The whole life of a release, in the order in which an operator sees it.
func TestTheChartOnAKubernetes(t *testing.T) {
	for _, step := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"the API server accepts what the chart makes", theAPIServerAcceptsIt},
		{"it is installed with default values", itIsInstalled},
		{"helm test passes", helmTestPasses},
		{"a banned program in an ordinary pod dies, and the log names the pod", aBannedProgramDies},
		{"the same in kube-system lives", kubeSystemLives},
		{"a miner without a telling name dies", aMinerDies},
		{"a program with the words of a miner dies", aMinersProgramDies},
		{"a pod reaches no pool, and an ordinary server", noPoolIsReached},
		{"the DNS server that pods ask lives", aDNSServerLives},
		{"lists come from a ConfigMap and a Secret", listsCome},
		{"a change of them takes effect without a rollout", changesTakeEffect},
		{"a broken change changes nothing, and shows", aBrokenChangeShows},
		{"an alert fires at a Prometheus that scrapes the agent", anAlertFires},
		{"an upgrade and a rollback leave no gap", upgradesLeaveNoGap},
		{"the values of a site of the older program work", oldValuesWork},
		{"the values of two sites work in another chart", sitesWork},
		{"the values that the README recommends to hubs work", valuesForHubsWork},
		{"it leaves nothing behind", itLeavesNothing},
	} {
		if !t.Run(step.name, step.run) {
			describeAgents(t)
		}
	}
}

// describeAgents logs what there is to see when a step has failed.
func describeAgents(t *testing.T) {
	t.Helper()
	for _, args := range [][]string{
		{"get", "pods", "--all-namespaces", "--output", "wide"},
		{"get", "events", "--all-namespaces", "--sort-by=.lastTimestamp"},
		{"logs", "--namespace", namespace, "--selector", "app.kubernetes.io/name=cryptnono", "--tail=30", "--prefix"},
	} {
		out, err := kube.kubectl("", args...)
		t.Logf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out[max(0, len(out)-6000):])
	}
}

// theAPIServerAcceptsIt leaves out the objects of helm test, which need each other, and which
// helmTestPasses makes.
func theAPIServerAcceptsIt(t *testing.T) {
	for _, ns := range []string{namespace, "hub"} {
		must(t)(kube.kubectl("", "create", "namespace", ns))
	}
	for name, file := range map[string]string{
		"defaults": values(t, ""),
		"much": values(t, `action: observe
logEnv: [JUPYTERHUB_USER]
killLimit: {perMinute: 100}
exemptions: {podLabels: [a=b], cgroups: [/system.slice/kubelet.service], programs: [/usr/sbin/dnsmasq]}
detectors: {execwhacker: {configs: {site: {bannedCommandStrings: [pool.example]}}, configMaps: [site], secrets: [private]}}
metrics: {enabled: true, grafanaDashboard: {enabled: true}}
priorityClassName: system-node-critical`),
		"a Binder site's": abs("../../charts/tests/testdata/old-binder-site.yaml"),
	} {
		rendered := must(t)(kube.helm("", "template", release, abs("../../charts/cryptnono"), "--kube-version", "1.34", "--no-hooks", "--namespace", namespace, "--values", file))
		if _, err := kube.kubectl(rendered, "apply", "--dry-run=server", "--validate=strict", "--namespace", namespace, "--filename", "-"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func itIsInstalled(t *testing.T) {
	notes := install(t, values(t, ""))
	if !strings.Contains(notes, "helm test") {
		t.Errorf("the notes do not say how to see it work:\n%s", notes)
	}
	p := agentPod(t)
	if n := p.Status.ContainerStatuses[0].RestartCount; n != 0 {
		t.Errorf("it was started %d times more", n)
	}
	logLine(t, "ready", func(l line) bool { return l.Msg == "ready" && strings.Contains(l.raw, `"monero"`) })
}

func helmTestPasses(t *testing.T) {
	out := must(t)(kube.helm("", "test", release, "--namespace", namespace, "--timeout", "2m", "--logs"))
	for _, want := range []string{"an agent is ready on each of 1 nodes: " + nodeName, "the agent on node " + nodeName + " has counted it"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in %s", want, out)
		}
	}
	if left, err := kube.kubectl("", "get", "roles,rolebindings,serviceaccounts", "--namespace", namespace, "--output", "name"); err != nil || strings.Contains(left, "selftest") {
		t.Errorf("it has left its rights: %s, %v", left, err)
	}
	doctor := must(t)(kube.kubectl("", "exec", "--namespace", namespace, "daemonset/cryptnono", "--", "cryptnono", "doctor", "--config", "/etc/cryptnono/settings/settings.json"))
	if !strings.Contains(doctor, "ok    settings") {
		t.Errorf("doctor in the pod: %s", doctor)
	}
}

func aBannedProgramDies(t *testing.T) {
	p := dies(t, selftest)
	l := logLine(t, "of its death", func(l line) bool { return l.Action == "killed" && l.Pod == p.Metadata.Name })
	id := strings.TrimPrefix(p.Status.ContainerStatuses[0].ContainerID, "containerd://")
	if l.Namespace != "hub" || l.Container != "notebook" || l.Image != strangerImage || l.Node != nodeName || l.ContainerID != id ||
		l.Annotations["hub.jupyter.org/username"] != "ada@example.com" || l.Labels["app"] != "stranger" || l.Labels["hub"] != "yes" || l.Labels["io.kubernetes.pod.name"] != p.Metadata.Name ||
		!strings.HasPrefix(l.Rule, "builtin/selftest.yaml:") {
		t.Errorf("%s", l.raw)
	}
}

func kubeSystemLives(t *testing.T) {
	p := lives(t, "kube-system", selftest)
	l := logLine(t, "that it is spared", func(l line) bool { return l.Action == "spared" && l.Pod == p.Metadata.Name })
	if l.Allowed != "namespace kube-system" || l.Namespace != "kube-system" {
		t.Errorf("%s", l.raw)
	}
	// The agent was told of both containers when they were made, so the kernel
	// decided alone.
	for _, series := range []string{`container_verdicts_total{result="known"}`, `container_verdicts_total{result="timeout"}`} {
		t.Logf("%s %s", series, value(t, "cryptnono_execwhacker_"+series))
	}
	if n := value(t, `cryptnono_execwhacker_container_verdicts_total{result="timeout"}`); n != "0" {
		t.Errorf("%s verdicts took more than 50 ms", n)
	}
}

// value returns that of a series on the agent's page of metrics.
func value(t *testing.T, series string) string {
	t.Helper()
	v := find(metrics(t, agentPod(t)), series)
	if v == "" {
		t.Fatalf("no series %s", series)
	}
	return v
}

// find returns the value of a series on a page of metrics, or "".
func find(page, series string) string {
	for l := range strings.Lines(page) {
		if v, ok := strings.CutPrefix(l, series+" "); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

func aMinerDies(t *testing.T) {
	minerDies(t, "quiet", "monero", "/usr/bin/python3", "1", "light", "jit")
}

// It has no telling name or option either, and is on overlayfs.
func aMinersProgramDies(t *testing.T) {
	l := minerDies(t, "worker", "hashwork", "/usr/bin/worker")
	if l.Rule != "hashwork program" || !strings.Contains(l.raw, `"file":"/usr/bin/worker"`) {
		t.Errorf("%s", l.raw)
	}
}

// minerDies starts a pod with a miner, and returns the line of the kill by a detector.
func minerDies(t *testing.T, name, detector string, command ...string) line {
	t.Helper()
	must(t)(kube.kubectl(podManifest("hub", name, minerImage, command...), "apply", "--filename", "-"))
	l := logLine(t, "of the miner's death", func(l line) bool { return l.Action == "killed" && l.Detector == detector })
	if l.Pod != name || l.Namespace != "hub" || l.Image != minerImage || !strings.HasPrefix(l.Rule, detector+" ") {
		t.Errorf("%s", l.raw)
	}
	retry(t, "the end of the miner's pod", func() error {
		p, err := decode[pod](kube.kubectl("", "get", "pod", "--namespace", "hub", name, "--output", "json"))
		if err == nil && p.Status.Phase != "Failed" {
			err = errNotYet
		}
		return err
	})
	return l
}

// A server in the pod stands in for the pool, or for any other. Beside the agent's programs there
// is one as network policy engines attach it.
func noPoolIsReached(t *testing.T) {
	program, packets := testutil.PacketCounter(t)
	engine, err := link.AttachCgroup(link.CgroupOptions{Path: testutil.CgroupRoot(), Attach: ebpf.AttachCGroupInetEgress, Program: program})
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	says := func(words string) string {
		return "/bin/busybox nc -l -p 3333 >/got & /bin/sleep 2; echo '" + words + "' | /bin/busybox nc 127.0.0.1 3333 -w 2; status=$?; /bin/sleep 2; /bin/busybox cat /got; exit $status"
	}
	p, out := runPod(t, "hub", "talks-to-a-pool", says(`{"id":1,"method":"login","params":{"login":"x","pass":"x"}}`))
	if exitCode(p) != 137 || out != "Killed\n" { // by the shell
		t.Errorf("a miner ended with %d, and a pool got %q", exitCode(p), out)
	}
	l := logLine(t, "of its death", func(l line) bool { return l.Detector == "tcpflowkiller" && l.Action == "killed" })
	if l.Pod != p.Metadata.Name || l.Namespace != "hub" || l.Image != strangerImage || l.Rule != "tcpflowkiller stratum" {
		t.Errorf("%s", l.raw)
	}
	const honest = `{"id":1,"method":"login","params":["x"]}`
	if p, out := runPod(t, "hub", "talks-to-a-server", says(honest)); out != honest+"\n" {
		t.Errorf("an ordinary client ended with %d, and its server got %q", exitCode(p), out)
	}
	if packets() == 0 {
		t.Error("the program of the network policy engine saw no packet")
	}
}

// aDNSServerLives has a pod ask for the name of a pool, by a server as CoreDNS is one: it asks another
// one. The pod dies when it speaks to the pool. The server is in its own pod.
func aDNSServerLives(t *testing.T) {
	const dnsmasq = "/bin/dnsmasq -k -u root --pid-file= -C /dev/null --no-resolv --no-hosts "
	must(t)(kube.kubectl(podManifest("kube-public", "dns", strangerImage, "/bin/sh", "-c",
		dnsmasq+"--port=5353 --listen-address=127.0.0.1 --bind-interfaces --address=/#/127.0.0.1 & exec "+dnsmasq+"--server=127.0.0.1#5353"),
		"apply", "--filename", "-"))
	t.Cleanup(func() {
		_, _ = kube.kubectl("", "delete", "pod", "--namespace", "kube-public", "dns", "--now", "--wait=false")
	})
	var server pod
	retry(t, "the DNS server", func() (err error) {
		server, err = decode[pod](kube.kubectl("", "get", "pod", "--namespace", "kube-public", "dns", "--output", "json"))
		if err == nil && server.Status.PodIP == "" {
			err = errNotYet
		}
		return err
	})
	ask := func(name string) string { return "/bin/busybox nslookup -type=a " + name + " " + server.Status.PodIP }
	_, out := runPod(t, "hub", "asks-for-a-pool", "for i in 1 2 3 4 5 6 7 8 9; do "+ask("minexmr.com")+" && break; /bin/sleep 1; done; "+ask("example.org"))
	if n := strings.Count(out, "Address: 127.0.0.1"); n != 2 {
		t.Errorf("%d names are resolved: %s", n, out)
	}
	server, err := decode[pod](kube.kubectl("", "get", "pod", "--namespace", "kube-public", "dns", "--output", "json"))
	if err != nil || len(server.Status.ContainerStatuses) != 1 || server.Status.ContainerStatuses[0].State.Terminated != nil {
		logs, _ := kube.kubectl("", "logs", "--namespace", "kube-public", "dns")
		t.Errorf("the DNS server has ended: %v, %v, %s", server.Status, err, logs)
	}
}

// rulesOf is a ConfigMap or a Secret with a rule file. It goes to kubectl's standard
// input, since a command line must not have banned words.
func rulesOf(kind, name, text string) string {
	key := map[string]string{"ConfigMap": "data", "Secret": "stringData"}[kind]
	return fmt.Sprintf("apiVersion: v1\nkind: %s\nmetadata: {name: %s, namespace: %s}\n%s: {rules.yaml: %q}\n", kind, name, namespace, key, text)
}

func apply(t *testing.T, manifest string) {
	t.Helper()
	must(t)(kube.kubectl(manifest, "apply", "--filename", "-"))
}

const listed = "detectors: {execwhacker: {configMaps: [site], secrets: [private]}}"

func listsCome(t *testing.T) {
	apply(t, rulesOf("ConfigMap", "site", "bannedCommandStrings: [first.configmap]"))
	apply(t, rulesOf("Secret", "private", "bannedCommandStrings: [first.secret]"))
	install(t, values(t, listed))
	agentPod(t)
	dies(t, "first.configmap")
	dies(t, "first.secret")
	lives(t, "hub", "second.configmap")
}

func changesTakeEffect(t *testing.T) {
	before := agentPod(t)
	apply(t, rulesOf("ConfigMap", "site", "bannedCommandStrings: [second.configmap]"))
	apply(t, rulesOf("Secret", "private", "bannedCommandStrings: [second.secret]"))
	banned(t, "second.configmap")
	banned(t, "second.secret")
	lives(t, "hub", "first.configmap")
	lives(t, "hub", "first.secret")
	if after := agentPod(t); after.Metadata.UID != before.Metadata.UID || after.Status.ContainerStatuses[0].RestartCount != 0 {
		t.Error("the agent was started anew")
	}
}

// banned waits until a program with a word dies.
func banned(t *testing.T, word string) {
	t.Helper()
	retry(t, "the ban of "+word, func() error {
		p, out := runPod(t, "hub", "banned-"+fmt.Sprint(time.Now().UnixNano()), says(word))
		if exitCode(p) != 137 || out != "" {
			return fmt.Errorf("it ended with %d and wrote %q", exitCode(p), out)
		}
		return nil
	})
}

func aBrokenChangeShows(t *testing.T) {
	apply(t, rulesOf("ConfigMap", "site", "bannedCommandStrings: [third.configmap, '']\nbanned: []"))
	l := logLine(t, "that the reload was refused", func(l line) bool { return strings.HasPrefix(l.Msg, "reload refused") })
	for _, want := range []string{"rules.yaml:1: bannedCommandStrings[1]: empty string", `rules.yaml:2: unknown key "banned"`} {
		if l.Level != "ERROR" || !strings.Contains(l.Err, want) {
			t.Errorf("no %q in %s", want, l.raw)
		}
	}
	if v := value(t, "cryptnono_config_reload_success"); v != "0" {
		t.Errorf("the metric says %s", v)
	}
	dies(t, "second.configmap")
	lives(t, "hub", "third.configmap")
	apply(t, rulesOf("ConfigMap", "site", "bannedCommandStrings: [third.configmap]"))
	banned(t, "third.configmap")
	if v := value(t, "cryptnono_config_reload_success"); v != "1" {
		t.Errorf("the metric says %s after it was mended", v)
	}
}

// A program with a banned word is started again and again, while one agent takes the
// place of another: none may live.
func upgradesLeaveNoGap(t *testing.T) {
	assign, use := spoken(selftest)
	script := assign + "; n=0; while :; do /bin/echo " + use + "; n=$((n + 1)); [ $((n % 20)) != 0 ] || /bin/echo ran $n; /bin/sleep 0.02; done 2>/dev/null"
	must(t)(kube.kubectl(podManifest("hub", "again", strangerImage, "/bin/sh", "-c", script), "apply", "--filename", "-"))
	runs := func() int {
		out, err := kube.kubectl("", "logs", "--namespace", "hub", "again")
		if err != nil {
			return 0
		}
		if strings.Contains(out, "BANNED") {
			t.Fatal("a banned program lived")
		}
		return strings.Count(out, "ran ")
	}
	retry(t, "the first runs", func() error {
		if runs() == 0 {
			return errNotYet
		}
		return nil
	})
	before, ran := agentPod(t), runs()
	upgraded := values(t, listed+"\npodAnnotations: {upgraded: \"yes\"}\nimage: {tag: next}")
	text, err := os.ReadFile(upgraded)
	if err != nil {
		t.Fatal(err)
	}
	// One key of that name.
	if err := os.WriteFile(upgraded, []byte(strings.Replace(string(text), fmt.Sprintf("image: {tag: %q, pullPolicy: Never}\n", version), "", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	install(t, upgraded)
	middle := agentPod(t)
	must(t)(kube.helm("", "rollback", release, "--namespace", namespace, "--wait", "--timeout", "2m"))
	after := agentPod(t)
	if before.Metadata.UID == middle.Metadata.UID || middle.Metadata.UID == after.Metadata.UID {
		t.Error("the agent was not replaced")
	}
	if n := runs(); n <= ran {
		t.Errorf("%d runs before, %d after: nothing was tried", ran, n)
	}
	must(t)(kube.kubectl("", "delete", "pod", "--namespace", "hub", "again", "--now"))
}

func oldValuesWork(t *testing.T) {
	// Of its own, which the values name.
	apply(t, "apiVersion: scheduling.k8s.io/v1\nkind: PriorityClass\nmetadata: {name: binder-node-critical}\nvalue: 1000\n")
	notes := install(t, abs("../../charts/tests/testdata/old-binder-site.yaml"), values(t, ""))
	agentPod(t)
	dies(t, selftest)
	if !strings.Contains(notes, "fetchKernelHeaders has no effect") {
		t.Errorf("the notes say nothing of what has no effect any more:\n%s", notes)
	}
}

// sitesWork installs the chart as a part of another one, with and without an alias, with the
// values of two sites. Their operators see no notes, so the agent must say them.
func sitesWork(t *testing.T) {
	apply(t, "apiVersion: scheduling.k8s.io/v1\nkind: PriorityClass\nmetadata: {name: binderhub-core}\nvalue: 1000\n")
	apply(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: banned-ips, namespace: "+namespace+"}\ndata: {banned.txt: \"203.0.113.7\\n\"}\n")
	for _, site := range []struct{ file, name, notice string }{
		{"site-mybinder.yaml", "cryptnono", "banned_ipv4_file_globs has no effect"},
		{"site-2i2c.yaml", "minerguard", "detectors.monero.resources has no effect: Set resources, but no CPU limit"},
	} {
		hub := t.TempDir()
		chart := fmt.Sprintf("apiVersion: v2\nname: hub\nversion: 1.0.0\ndependencies: [{name: cryptnono, version: '>=0.0.0-0', alias: %s, condition: %[1]s.enabled}]\n", site.name)
		text := must(t)(readFile(abs("../../charts/tests/testdata/" + site.file)))
		text = strings.Replace(text, "\ncryptnono:\n", fmt.Sprintf("\n%s:\n  image: {tag: %q, pullPolicy: Never}\n", site.name, version), 1)
		for name, text := range map[string]string{"Chart.yaml": chart, "values.yaml": text} {
			if err := os.WriteFile(filepath.Join(hub, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.CopyFS(filepath.Join(hub, "charts/cryptnono"), os.DirFS("../../charts/cryptnono")); err != nil {
			t.Fatal(err)
		}
		out := must(t)(kube.helm("", "upgrade", "--install", "hub", hub, "--namespace", namespace, "--wait", "--timeout", "2m"))
		if strings.Contains(out, "has no effect") {
			t.Errorf("%s: Helm shows the notes of a subchart now, so the agent need not: %s", site.file, out)
		}
		must(t)(kube.helm("", "test", "hub", "--namespace", namespace, "--timeout", "2m"))
		logs := must(t)(kube.kubectl("", "logs", "--namespace", namespace, "daemonset/hub-"+site.name))
		if !strings.Contains(logs, `"msg":"notice about the settings"`) || !strings.Contains(logs, site.notice) {
			t.Errorf("%s: no notice in the log: %s", site.file, logs)
		}
		must(t)(kube.helm("", "uninstall", "hub", "--namespace", namespace, "--wait", "--timeout", "1m"))
	}
}

func valuesForHubsWork(t *testing.T) {
	update(t, recommended(t)+listed)
	if v := value(t, "cryptnono_pinned"); v != "1" || !isBanned(selftest) {
		t.Errorf("pinned: %s", v)
	}
	if class := must(t)(kube.kubectl("", "get", "pod", "--namespace", namespace, agentPod(t).Metadata.Name, "--output", "jsonpath={.spec.priorityClassName}")); class != "system-node-critical" {
		t.Errorf("the PriorityClass is %q", class)
	}
	update(t, "unpin: true")
}

func readFile(name string) (string, error) {
	text, err := os.ReadFile(name)
	return string(text), err
}

func itLeavesNothing(t *testing.T) {
	if len(bpfPrograms(t)) == 0 {
		t.Fatal("the agent has no programs in the kernel")
	}
	must(t)(kube.helm("", "uninstall", release, "--namespace", namespace, "--wait", "--timeout", "1m"))
	retry(t, "the end of the agent", func() error {
		if pods := agentPods(t); len(pods) > 0 {
			return fmt.Errorf("%d pods are left", len(pods))
		}
		if left := bpfPrograms(t); len(left) > 0 {
			return fmt.Errorf("programs %v are left", left)
		}
		return nil
	})
	// The kernel itself may show two files there.
	pinned := must(t)(output(kube.inside("ls", "/sys/fs/bpf")))
	if pinned = strings.NewReplacer("maps.debug\n", "", "progs.debug\n", "").Replace(pinned); pinned != "" {
		t.Errorf("pinned: %q", pinned)
	}
	retry(t, "the end of its objects", func() error {
		left, err := kube.kubectl("", "get", "all,configmaps,secrets,serviceaccounts", "--namespace", namespace,
			"--selector", "app.kubernetes.io/instance="+release, "--output", "name")
		if left = strings.ReplaceAll(left, "pod/cryptnono-selftest\n", ""); err == nil && left != "" {
			err = fmt.Errorf("left: %s", left)
		}
		return err
	})
	lives(t, "hub", selftest)
}
