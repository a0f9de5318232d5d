package chart

import (
	"flag"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/testutil"
	"github.com/cryptnono/cryptnono/test/agenttest"
)

var record = flag.Bool("record", false, "record the series of the dashboard's picture")

const scrapes = 61 // in the recording: three minutes

// TestRecording writes the recording from which the picture is drawn: the metrics of an agent while
// users start programs, of which some are banned. It kills programs with words of its own, and
// what speaks to a pool, also over the loopback.
func TestRecording(t *testing.T) {
	testutil.Privileged(t)
	if !*record {
		t.Skip("only with -record")
	}
	stats, err := ebpf.EnableStats(uint32(unix.BPF_STATS_RUN_TIME))
	if err != nil {
		t.Fatal(err)
	}
	defer stats.Close()
	killed, observed := agenttest.NewWord(), agenttest.NewWord()
	a := agenttest.Start(t, agenttest.Options{
		Settings: map[string]any{
			"rules": []string{
				agenttest.WriteJSON(t, "kill.json", agenttest.Rules{Strings: []string{killed}, Allowed: []string{"/bin/echo allowed .*"}}),
				agenttest.WriteJSON(t, "observe.json", agenttest.Rules{Strings: []string{observed}, Action: "observe"}),
			},
			"exemptions":    map[string]any{"cgroups": []string{"/cryptnono-exempt"}},
			"tcpflowkiller": map[string]any{"enabled": true},
		},
	})
	pool, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	login := filepath.Join(t.TempDir(), "login")
	if err := os.WriteFile(login, []byte(`{"id": 1, "method": "mining.subscribe", "params": ["cpuminer/2.5.1"]}`+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	connect := fmt.Sprintf("exec 3<>/dev/tcp/127.0.0.1/%d; cat %s >&3", pool.Addr().(*net.TCPAddr).Port, login)

	attempts := []struct {
		times, each int // at each so many scrapes
		command     *exec.Cmd
	}{
		{1, 4, exec.Command("/bin/echo", killed)},
		{2, 7, exec.Command("/bin/echo", killed)},
		{20, 23, exec.Command("/bin/echo", killed)}, // a user who tries again and again
		{1, 5, exec.Command("/bin/echo", observed)},
		{1, 11, exec.Command("/bin/echo", "allowed", killed)},
		{1, 9, agenttest.InCgroup(t, "/cryptnono-exempt", exec.Command("/bin/echo", killed))},
		{1, 8, exec.Command("/bin/bash", "-c", connect)},
	}
	shown, start := shownSeries(t), time.Now()
	recorded := make(map[string][]string) // values by series
	for i := range scrapes {
		scrape(t, a, shown, recorded, i)
		for _, at := range attempts {
			for range at.times {
				if again := *at.command; i%at.each == at.each-1 {
					_ = again.Run() // most are killed
				}
			}
		}
		for next := start.Add(time.Duration(i+1) * scrapeEvery); time.Now().Before(next); time.Sleep(time.Duration(100+20*(i%15)) * time.Millisecond) {
			_ = exec.Command("/bin/true").Run()
		}
	}
	var text strings.Builder
	fmt.Fprintf(&text, "# Metrics of an agent, one value each %v, in the notation of Prometheus' tests. make dashboard-picture records it.\n", scrapeEvery)
	for _, name := range slices.Sorted(maps.Keys(recorded)) {
		text.WriteString(name + repeated(recorded[name]) + "\n")
	}
	if err := os.WriteFile(recording, []byte(text.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// shownSeries selects the series that numbers and lines of the dashboard show.
func shownSeries(t *testing.T) (all []labels.Selector) {
	t.Helper()
	for _, p := range readDashboard(t).Panels {
		for _, target := range p.Targets {
			for _, s := range selected(t, target.Expr) {
				all = append(all, labels.Selector(s.LabelMatchers))
			}
		}
	}
	return all
}

// scrape adds the values of the agent's page to those of earlier scrapes, with the labels that
// Prometheus adds in a cluster.
func scrape(t *testing.T, a *agenttest.Agent, shown []labels.Selector, recorded map[string][]string, earlier int) {
	t.Helper()
	_, page, err := a.Get("/metrics", scrapeEvery)
	if err != nil {
		t.Log(err) // the value is missing, as it is for Prometheus
		return
	}
	for l := range strings.Lines(page) {
		if strings.HasPrefix(l, "#") {
			continue
		}
		space := strings.LastIndexByte(l, ' ')
		name, value := l[:space], strings.TrimSuffix(l[space+1:], "\n")
		series, err := parser.ParseMetric(name)
		if err != nil {
			t.Fatal(err)
		}
		b := labels.NewBuilder(series).Set("node", "node-1").Set("job", "cryptnono").Set("instance", "node-1:12121")
		if !slices.ContainsFunc(shown, func(s labels.Selector) bool { return s.Matches(b.Labels()) }) {
			continue
		}
		name = series.Get("__name__") + b.Del("__name__").Labels().String()
		for len(recorded[name]) < earlier {
			recorded[name] = append(recorded[name], "_")
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			t.Fatal(err)
		}
		recorded[name] = append(recorded[name], strconv.FormatFloat(v, 'f', -1, 64))
	}
}

// repeated writes values, and those that follow as often as they do: 1x2 is 1 1 1.
func repeated(values []string) string {
	var b strings.Builder
	for len(values) > 0 {
		more := 0
		for more+1 < len(values) && values[more+1] == values[0] {
			more++
		}
		b.WriteString(" " + values[0])
		if more > 0 {
			fmt.Fprintf(&b, "x%d", more)
		}
		values = values[more+1:]
	}
	return b.String()
}
