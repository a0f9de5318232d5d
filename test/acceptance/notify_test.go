package acceptance

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/testutil"
	"github.com/cryptnono/cryptnono/test/agenttest"
)

// One receiver works, one hangs, one answers with an error, and one is gone.
func TestNoKillWaitsForReceiversAndLossesAreCounted(t *testing.T) {
	t.Parallel()
	testutil.Privileged(t)
	var mu sync.Mutex
	var bodies []string
	works := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		bodies = append(bodies, string(body))
	}))
	t.Cleanup(works.Close)
	release := make(chan struct{})
	hangs := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	t.Cleanup(hangs.Close)
	t.Cleanup(func() { close(release) })
	fails := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }))
	t.Cleanup(fails.Close)
	gone := httptest.NewServer(nil)
	gone.Close()
	bad := []string{"hangs", "fails", "gone"}
	var receivers []any
	for name, url := range map[string]string{"works": works.URL, "hangs": hangs.URL, "fails": fails.URL, "gone": gone.URL} {
		receivers = append(receivers, map[string]any{"name": name, "url": url + "/hunter2", "timeout": "300ms", "each": true})
	}

	word := agenttest.NewWord()
	a := startWith(t, agenttest.Rules{Strings: []string{word}}, map[string]any{"notify": map[string]any{"receivers": receivers}})
	began := time.Now()
	const kills = 100
	pids := make([]int, kills)
	for i := range pids {
		cmd := exec.Command("/bin/echo", word, "--password=hunter2")
		dies(t, cmd)
		pids[i] = cmd.Process.Pid
	}
	if took := time.Since(began); took > testutil.Patience(10*time.Second) {
		t.Errorf("%d kills took %v", kills, took)
	}
	agenttest.Eventually(t, "the notification of the first kill", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(bodies) > 0
	})
	mu.Lock()
	all := strings.Join(bodies, "\n")
	mu.Unlock()
	if want := fmt.Sprintf(`"pid":%d,`, pids[0]); !strings.Contains(all, want) || strings.Contains(all, "hunter2") {
		t.Errorf("no %s, or a secret, in\n%s", want, all)
	}
	metric := func(name, receiver string) float64 {
		return a.Metrics(t)[fmt.Sprintf("cryptnono_notification%s_total{receiver=%q}", name, receiver)]
	}
	for _, name := range bad {
		agenttest.Eventually(t, "a failure of "+name, func() bool { return metric("_attempts_failed", name) > 0 })
		if sent := metric("s_sent", name); sent != 0 {
			t.Errorf("%s: %v are sent", name, sent)
		}
	}
	// What waits for receivers that are removed is lost.
	a.Set(t, map[string]any{"notify": map[string]any{"receivers": []any{}}})
	a.Reload(t)
	for _, name := range bad {
		if lost := metric("s_lost", name); lost < 1 {
			t.Errorf("%s: %v are lost", name, lost)
		}
	}
	if sent, lost := metric("s_sent", "works"), metric("s_lost", "works"); sent < 1 || lost != 0 {
		t.Errorf("the receiver that works: %v sent, %v lost", sent, lost)
	}
	for _, l := range a.Lines(func(l agenttest.Line) bool { return strings.HasPrefix(l.Msg, "receiver of notifications") }) {
		if strings.Contains(l.Raw, "hunter2") {
			t.Errorf("a secret is in the log: %s", l.Raw)
		}
	}
}
