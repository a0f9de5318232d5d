package kubernetes

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/testutil"
	"github.com/cryptnono/cryptnono/test/agenttest"
)

const (
	aliveAddress = "127.113.57.94" // is banned, and of no other test
	// What computes is not among what is tested.
	aliveValues = "detectors: {execwhacker: {configMaps: [alive]}, tcpflowkiller: {action: refuse}, monero: {enabled: false}, hashwork: {enabled: false}}\n"
	itsNode     = "node=\"" + nodeName + "\""
	alivePinned = aliveValues + "pins: /sys/fs/bpf/cryptnono\n"
)

// What protects a node while its agent is gone, and when its rules are bad.
func TestAlive(t *testing.T) {
	if os.Getenv("SOAK") == "" {
		t.Skip("takes minutes: make test-kubernetes RUN=Alive")
	}
	word := agenttest.NewWord()
	rules := fmt.Sprintf("bannedCommandStrings: [%s]\nbannedAddresses: [%s]\n", word, aliveAddress)
	must(t)(kube.kubectl("", "create", "namespace", namespace))
	apply(t, rulesOf("ConfigMap", "alive", rules))
	startPrometheus(t)
	for _, step := range []struct {
		name string
		run  func(t *testing.T)
	}{
		{"nothing survives while the agent is killed 50 times and replaced", func(t *testing.T) { nothingSurvives(t, word) }},
		{"protection outlives the chart until unpin", func(t *testing.T) { outlivesTheChart(t, word) }},
		{"a crash without pins", crashes},
		{"a full node", func(t *testing.T) { fullNode(t, word) }},
		{"a crash loop without pins", crashLoop},
		{"a typo in a ConfigMap while the pod is deleted", func(t *testing.T) { startsWithATypo(t, word, rules) }},
		{"an agent that only observes", observes},
		{"nothing is left", func(t *testing.T) {
			must(t)(kube.helm("", "uninstall", release, "--namespace", namespace, "--wait", "--timeout", "1m"))
			retry(t, "the end of the programs", func() error {
				if left := bpfPrograms(t); len(left) > 0 {
					return fmt.Errorf("%v", left)
				}
				return nil
			})
		}},
	} {
		if !t.Run(step.name, step.run) {
			describeAgents(t)
			return
		}
	}
}

func nothingSurvives(t *testing.T, word string) {
	installReady(t, alivePinned)
	storm := agenttest.StartStorm(t, word, aliveAddress)
	fires(t, "CryptnonoRestarts", itsNode, func() { killAgents(t, 50) })
	if n := agentPod(t).Status.ContainerStatuses[0].RestartCount; n != 0 {
		t.Logf("Kubernetes has counted %d crashes", n) // a slow machine misses probes
	}
	before := agentPod(t)
	installReady(t, alivePinned+"podAnnotations: {upgraded: \"yes\"}")
	middle := agentPod(t)
	must(t)(kube.helm("", "rollback", release, "--namespace", namespace, "--wait", "--timeout", "2m"))
	retry(t, "the agent of the rollback", func() error { return isReady(t) })
	if after := agentPod(t); before.Metadata.UID == middle.Metadata.UID || middle.Metadata.UID == after.Metadata.UID {
		t.Error("the agent was not replaced")
	}
	died, refused := storm.End(t, 20_000, 2_000)
	t.Logf("%d execs and %d connections", died, refused)
	if n := value(t, `cryptnono_execwhacker_processes_killed_total{source="exec"}`); n != fmt.Sprint(died) {
		t.Errorf("%s kills are counted, want %d", n, died)
	}
	if n := value(t, `cryptnono_flowkiller_refused_total{reason="banned-ip"}`); n != fmt.Sprint(refused) {
		t.Errorf("%s refused connections are counted, want %d", n, refused)
	}
}

// killAgents kills an agent, and then each that its parent starts.
func killAgents(t *testing.T, n int) {
	t.Helper()
	for range n {
		pid := agentProcess(t)
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		retry(t, "the next agent", func() error {
			now, err := findAgent(t)
			if err == nil && now == pid {
				err = errNotYet
			}
			if err == nil {
				err = isReady(t)
			}
			return err
		})
	}
}

// installReady waits until an agent protects: with pins the old one ends first, and then Helm does not
// wait for the new one.
func installReady(t *testing.T, text string) {
	t.Helper()
	install(t, values(t, text))
	retry(t, "an agent that is ready", func() error { return isReady(t) })
}

// isReady returns nil if the agent is ready.
func isReady(t *testing.T) error {
	_, err := page(agentPod(t), "readyz")
	return err
}

// findAgent returns the process of the agent: the child of the parent that starts it again.
func findAgent(t *testing.T) (int, error) { return findProcess(t, false) }

// findProcess returns the process of the agent or of its parent.
func findProcess(t *testing.T, parent bool) (int, error) {
	id := []byte(strings.TrimPrefix(agentPod(t).Status.ContainerStatuses[0].ContainerID, "containerd://"))
	all, err := filepath.Glob("/proc/[0-9]*/cgroup")
	if err != nil {
		return 0, err
	}
	for _, file := range all {
		if text, err := os.ReadFile(file); err != nil || !bytes.Contains(text, id) {
			continue
		}
		dir := filepath.Dir(file)
		if args, err := os.ReadFile(dir + "/cmdline"); err == nil && bytes.Contains(args, []byte("\x00run\x00")) && bytes.Contains(args, []byte("\x00supervise\x00")) == parent {
			return strconv.Atoi(filepath.Base(dir))
		}
	}
	return 0, errNotYet
}

func agentProcess(t *testing.T) (pid int) {
	t.Helper()
	retry(t, "the agent's process", func() (err error) { pid, err = findAgent(t); return err })
	return pid
}

// isBanned reports whether a program with a word is killed.
func isBanned(word string) bool {
	cmd := exec.Command("/bin/true", word)
	_ = cmd.Run()
	return agenttest.Killed(cmd)
}

func uninstall(t *testing.T) {
	t.Helper()
	must(t)(kube.helm("", "uninstall", release, "--namespace", namespace, "--wait", "--timeout", "1m"))
	retry(t, "the end of the agent", func() error {
		if pods := agentPods(t); len(pods) > 0 {
			return errNotYet
		}
		return nil
	})
}

func outlivesTheChart(t *testing.T, word string) {
	see(t, fmt.Sprintf("up{pod=%q}", agentPod(t).Metadata.Name), "=> 1") // Prometheus takes seconds to find a new pod
	fires(t, "CryptnonoAbsent", "", func() {
		uninstall(t)
		if !isBanned(word) {
			t.Error("protection has ended with the chart")
		}
	})
	fires(t, "CryptnonoWasGone", itsNode, func() { installReady(t, alivePinned) })
	uninstall(t)
	fires(t, "CryptnonoPinsLeft", itsNode, func() { installReady(t, aliveValues) })
	installReady(t, aliveValues+"unpin: true\n")
	if pinned := must(t)(output(kube.inside("ls", "/sys/fs/bpf"))); strings.Contains(pinned, "cryptnono") {
		t.Errorf("pinned: %q", pinned)
	}
	if !isBanned(word) {
		t.Error("the agent does not protect")
	}
}

// crashes measures the gap after a crash.
func crashes(t *testing.T) {
	if err := syscall.Kill(agentProcess(t), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	var gap time.Duration
	patience := testutil.Patience(5 * time.Second)
	for began := time.Now(); time.Since(began) < patience; time.Sleep(10 * time.Millisecond) {
		if !isBanned(selftest) {
			gap = time.Since(began)
		}
	}
	t.Logf("unprotected for up to %v", gap)
	if gap > patience*9/10 || !isBanned(selftest) {
		t.Error("too long")
	}
}

// crashLoop kills the parent of the agent, and so the container, each time that Prometheus has seen it. So the
// pauses of the kubelet count, which are up to three seconds here.
func crashLoop(t *testing.T) {
	where := fmt.Sprintf("pod=%q", agentPod(t).Metadata.Name)
	crashes := 0
	crash := func() error {
		seen := must(t)(query(fmt.Sprintf("changes(process_start_time_seconds{%s}[1h]) == %d", where, crashes)))
		if strings.TrimSpace(seen) == "" {
			return errNotYet
		}
		pid, err := findProcess(t, true)
		if err == nil {
			err = syscall.Kill(pid, syscall.SIGKILL)
		}
		if err == nil {
			crashes++
		}
		return err
	}
	fires(t, "CryptnonoDown", where, func() {
		fires(t, "CryptnonoRestarts", where, func() {
			retry(t, "both alerts", func() error {
				if isFiring(t, "CryptnonoDown", where) && isFiring(t, "CryptnonoRestarts", where) {
					return nil
				}
				return errors.Join(crash(), errNotYet)
			})
		})
	})
	t.Logf("%d crashes; the agent was up in %s of the scrapes", crashes, strings.TrimSpace(must(t)(query(fmt.Sprintf("avg_over_time(up{%s}[%ds])", where, 10*minute/time.Second)))))
	retry(t, "the end of the loop", func() error { return isReady(t) })
}

// within waits for something that is to happen in five seconds, and logs how long it took.
func within(t *testing.T, what string, happened func() bool) {
	t.Helper()
	began := time.Now()
	agenttest.Eventually(t, what, happened)
	took := time.Since(began)
	t.Logf("%s: after %v", what, took)
	if took > testutil.Patience(5*time.Second) {
		t.Error("too late")
	}
}

func startsWithATypo(t *testing.T, word, rules string) {
	before := agentPod(t)
	fires(t, "CryptnonoRulesRefused", itsNode, func() {
		apply(t, rulesOf("ConfigMap", "alive", rules+"banned: []\n"))
		must(t)(kube.kubectl("", "delete", "pod", "--namespace", namespace, before.Metadata.Name, "--wait"))
		within(t, "protection by the other rules", func() bool { return isBanned(selftest) })
	})
	logLine(t, "of the bad file", func(l line) bool { return l.Level == "ERROR" && strings.Contains(l.raw, `unknown key \"banned\"`) })
	if agentPod(t).Status.ContainerStatuses[0].Ready || isBanned(word) {
		t.Error("the pod is ready, or the rules of the bad file are in effect")
	}
	apply(t, rulesOf("ConfigMap", "alive", rules))
	within(t, "protection by all rules", func() bool { return isBanned(word) })
	retry(t, "the end of the alert", func() error {
		if isFiring(t, "CryptnonoRulesRefused", itsNode) {
			return errNotYet
		}
		return nil
	})
}

// observes changes a setting, which takes effect in the same pod.
func observes(t *testing.T) {
	fires(t, "CryptnonoObserves", itsNode, func() { install(t, values(t, aliveValues+"action: observe\n")) })
}
