package kubernetes

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

// minute is how long a minute of the alerts takes here, and a day of them too.
var minute = testutil.Patience(2 * time.Second)

// fasterAlerts writes a file of the chart's alerts in which a minute is shorter, and returns its name.
func fasterAlerts(t *testing.T) string {
	t.Helper()
	var file struct {
		Groups []struct {
			Name  string
			Rules []map[string]any
		}
	}
	if err := yaml.Unmarshal([]byte(must(t)(readFile(chartsAlerts))), &file); err != nil {
		t.Fatal(err)
	}
	// Every "for", every range, and the two numbers of seconds of CryptnonoWasGone.
	times, want := 0, 2
	for _, rule := range file.Groups[0].Rules {
		for _, key := range []string{"expr", "for"} {
			text, ok := rule[key].(string)
			if !ok {
				continue
			}
			rule[key] = faster(text, &times)
			want += strings.Count(text, "[")
			if key == "for" {
				want++
			}
		}
	}
	if times != want {
		t.Fatalf("%d times in the alerts are shorter, want %d", times, want)
	}
	text, err := yaml.Marshal(file)
	if err == nil {
		err = os.WriteFile(kube.path("alerts.yaml"), text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return kube.path("alerts.yaml")
}

var aTime = regexp.MustCompile(`\b(\d+)[md]\b|\b\d\d+\b`)

// faster shortens the times in an expression, and counts them. A number of two digits or more is one of
// seconds.
func faster(text string, times *int) string {
	return aTime.ReplaceAllStringFunc(text, func(found string) string {
		*times++
		n, err := strconv.Atoi(strings.TrimRight(found, "md"))
		if err != nil {
			panic(err)
		}
		if strings.ContainsAny(found, "md") {
			return fmt.Sprintf("%dms", (time.Duration(n) * minute).Milliseconds())
		}
		return fmt.Sprint((time.Duration(n) * minute / 60).Seconds())
	})
}

// An object of the release, a pod or a DaemonSet.
type object struct {
	Kind     string
	Metadata struct {
		Name   string
		Labels map[string]string
	}
	Spec   struct{ NodeName string }
	Status struct {
		Phase, PodIP      string
		NumberUnavailable int
	}
}

// startPrometheus starts one with the faster alerts, which finds the agents as in a cluster, by their pods,
// and is told the status of the DaemonSet. Debian's has no discovery by the API server, and Debian has no
// kube-state-metrics. So a server of the test asks the API server for both.
func startPrometheus(t *testing.T) {
	t.Helper()
	listener, _ := listenOnNode(t)
	var last atomic.Pointer[[]object]
	last.Store(new([]object))
	mux := http.NewServeMux()
	mux.HandleFunc("/targets", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(targets(*last.Load()))
	})
	mux.HandleFunc("/metrics", func(w http.ResponseWriter, _ *http.Request) {
		for _, o := range *last.Load() {
			if o.Kind == "DaemonSet" {
				fmt.Fprintf(w, "kube_daemonset_status_number_unavailable{namespace=%q,daemonset=%q} %d\n", namespace, o.Metadata.Name, o.Status.NumberUnavailable)
			}
		}
	})
	server := &http.Server{Handler: mux}
	stop := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(listener) })
	running.Go(func() {
		for {
			list, err := decode[struct{ Items []object }](kube.kubectl("", "get", "pods,daemonsets", "--namespace", namespace, "--output", "json"))
			if err == nil {
				last.Store(&list.Items)
			}
			select {
			case <-stop:
				return
			case <-time.After(time.Second):
			}
		}
	})
	t.Cleanup(func() {
		close(stop)
		server.Close()
		running.Wait()
	})
	prometheus(t, fasterAlerts(t), fmt.Sprintf(`
  - {job_name: cryptnono/cryptnono, http_sd_configs: [{url: "http://%[1]s/targets", refresh_interval: 1s}]}
  - {job_name: kube-state-metrics, static_configs: [{targets: ["%[1]s"]}]}
`, listener.Addr()))
	see(t, "vector(42)", "=> 42")
}

// targets are the agents among the objects, as the chart's PodMonitor selects and labels them.
func targets(all []object) any {
	type group struct {
		Targets []string          `json:"targets"`
		Labels  map[string]string `json:"labels"`
	}
	found := []group{}
	for _, o := range all {
		if o.Kind == "Pod" && o.Status.Phase == "Running" && o.Metadata.Labels["app.kubernetes.io/name"] == "cryptnono" {
			found = append(found, group{[]string{o.Status.PodIP + ":12121"}, map[string]string{"namespace": namespace, "pod": o.Metadata.Name, "node": o.Spec.NodeName}})
		}
	}
	return found
}

// isFiring reports whether an alert fires. Matchers are of more of its labels.
func isFiring(t *testing.T, alert, matchers string) bool {
	t.Helper()
	return strings.TrimSpace(must(t)(query(fmt.Sprintf(`ALERTS{alertname=%q,alertstate="firing",%s}`, alert, matchers)))) != ""
}

// fires checks that an alert fires after its cause, and not before.
func fires(t *testing.T, alert, matchers string, cause func()) {
	t.Helper()
	if isFiring(t, alert, matchers) {
		t.Errorf("%s fires without its cause", alert)
	}
	began := time.Now()
	cause()
	retry(t, alert, func() error {
		if !isFiring(t, alert, matchers) {
			return errNotYet
		}
		return nil
	})
	took := time.Since(began)
	t.Logf("%s fires %v after the beginning of its cause, %.1f minutes of the alerts", alert, took.Round(time.Millisecond), took.Seconds()/minute.Seconds())
}
