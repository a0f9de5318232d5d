package notify

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// A server is a receiver that collects the bodies of requests.
type server struct {
	*httptest.Server
	mu     sync.Mutex
	bodies []string
}

func serve(t *testing.T) *server {
	s := new(server)
	s.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Method != http.MethodPost {
			t.Errorf("%s, %v", r.Method, err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.bodies = append(s.bodies, string(body))
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *server) got() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.bodies)
}

func receiver(name, url string) Receiver {
	r := Usual()
	r.Name, r.URL = name, url
	return r
}

// total returns the sum of a counter by receiver.
func total(t *testing.T, n *Notifier, name string) map[string]float64 {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(n)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := make(map[string]float64)
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			values[m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
		}
	}
	return values
}

func TestEachReceiverGetsWhatItWants(t *testing.T) {
	digests, each, spared := serve(t), serve(t), serve(t)
	n := New("1")
	a, b, c := receiver("digests", digests.URL), receiver("each", each.URL), receiver("spared", spared.URL)
	b.Each, c.Actions = true, []string{"spared"}
	n.Apply([]Receiver{a, b, c}, quiet())
	for range 3 {
		write(t, n, killed)
	}
	write(t, n, strings.Replace(killed, `"action":"killed"`, `"action":"spared"`, 1))
	n.Close(testutil.Patience(10 * time.Second))

	if got := each.got(); len(got) != 3 || got[0]+"\n" != killed {
		t.Errorf("got %q", got)
	}
	if got := spared.got(); len(got) != 1 || !strings.Contains(got[0], `"action":"spared"`) || !strings.HasSuffix(got[0], `,"verdicts":1,"actions":{"spared":1}}`) {
		t.Errorf("got %q", got)
	}
	// The first at once, and the others together, here at the end.
	if got := digests.got(); len(got) != 2 || !strings.HasSuffix(got[0], `,"verdicts":1,"actions":{"killed":1}}`) || !strings.HasSuffix(got[1], `,"verdicts":2,"actions":{"killed":2}}`) {
		t.Errorf("got %q", got)
	}
	if got := fmt.Sprint(total(t, n, "cryptnono_notifications_sent_total"), total(t, n, "cryptnono_notifications_lost_total")); got !=
		"map[digests:2 each:3 spared:1] map[digests:0 each:0 spared:0]" {
		t.Errorf("counted %s", got)
	}
}

func write(t *testing.T, n *Notifier, text string) {
	t.Helper()
	if size, err := n.Write([]byte(text)); size != len(text) || err != nil {
		t.Errorf("got %d, %v", size, err)
	}
}

// In the time of many lines nothing is sent: one receiver hangs, and one is gone.
func TestWriteDoesNotBlockAndEachLineIsSentOrLost(t *testing.T) {
	release := make(chan struct{})
	hangs := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer hangs.Close()
	defer close(release)
	gone := httptest.NewServer(nil)
	gone.Close()
	n := New("1")
	var receivers []Receiver
	for name, url := range map[string]string{"hangs": hangs.URL, "gone": gone.URL} {
		r := receiver(name, url)
		r.Each = true
		receivers = append(receivers, r)
	}
	n.Apply(receivers, quiet())
	const lines = 50_000
	began := time.Now()
	for range lines {
		write(t, n, killed)
	}
	if took := time.Since(began); took > testutil.Patience(5*time.Second) {
		t.Errorf("%d lines took %v", lines, took)
	}
	n.mu.Lock()
	if n.size > maxInbox {
		t.Errorf("the inbox has %d bytes", n.size)
	}
	n.mu.Unlock()
	n.Close(10 * time.Millisecond)
	for name, lost := range total(t, n, "cryptnono_notifications_lost_total") {
		if lost != lines {
			t.Errorf("%s: %v of %d are lost", name, lost, lines)
		}
	}
	for name, sent := range total(t, n, "cryptnono_notifications_sent_total") {
		if sent != 0 {
			t.Errorf("%s: %v are sent", name, sent)
		}
	}
}

func TestReceiversAreReplaced(t *testing.T) {
	stays, goes, comes := serve(t), serve(t), serve(t)
	n := New("1")
	stay, gone := receiver("stays", stays.URL), receiver("goes", goes.URL)
	n.Apply([]Receiver{gone, stay}, quiet())
	before := n.outlets[1]
	write(t, n, killed)
	testutil.Eventually(t, "the first notifications", func() bool { return len(stays.got()) == 1 && len(goes.got()) == 1 })
	write(t, n, killed) // is in digests
	testutil.Eventually(t, "the digests", func() bool {
		n.work.Lock()
		defer n.work.Unlock()
		return n.outlets[0].digests.owners["c1"].message.line != nil
	})
	n.Apply([]Receiver{stay, receiver("comes", comes.URL)}, quiet())
	if n.outlets[0] != before {
		t.Error("the receiver that is the same was replaced")
	}
	if got := total(t, n, "cryptnono_notifications_lost_total"); got["goes"] != 1 || got["stays"] != 0 {
		t.Errorf("lost %v", got)
	}
	write(t, n, strings.ReplaceAll(killed, "c1", "c2"))
	testutil.Eventually(t, "the new notifications", func() bool { return len(stays.got()) == 2 && len(comes.got()) == 1 })
	n.Close(testutil.Patience(10 * time.Second))
	if s, g, c := len(stays.got()), len(goes.got()), len(comes.got()); s != 3 || g != 1 || c != 1 {
		t.Errorf("got %d, %d and %d notifications", s, g, c)
	}
	write(t, n, killed) // without effect
}

func TestADigestHasWhatFollowsTheFirstVerdict(t *testing.T) {
	d := digests{make(map[string]*digest)}
	now := time.Now()
	first, second := parsed(t, outside), parsed(t, strings.Replace(killed, `"container_id":"c1"`, `"container_id":"c2"`, 1))
	step := func(after time.Duration, want ...string) {
		t.Helper()
		now = now.Add(after)
		var got []string
		for _, m := range d.expire(now) {
			if m.id == "" || m.queued != now {
				t.Errorf("id %q, queued %v", m.id, m.queued)
			}
			actions, err := json.Marshal(m.actions)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprintf("%s %s", m.line.Action, actions))
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if m := d.add(now, first); m == nil || m.line != first || m.verdicts() != 1 {
		t.Fatalf("the first: %+v", m)
	}
	if m := d.add(now, second); m == nil || m.line != second {
		t.Fatalf("the first of another owner: %+v", m)
	}
	of := parsed(t, strings.Replace(outside, "session-1.scope", "session-2.scope", 1))
	of.Action = "killed"
	for _, l := range []*line{first, of, first} {
		if m := d.add(now, l); m != nil {
			t.Errorf("sent: %+v", m)
		}
	}
	step(window - 1)
	step(1, `killed {"killed":1,"observed":2}`)
	step(window / 2)
	if m := d.add(now, first); m != nil {
		t.Errorf("sent after a digest: %+v", m)
	}
	step(window/2, `observed {"observed":1}`)
	step(window)
	if len(d.owners) != 0 {
		t.Errorf("%d owners are left", len(d.owners))
	}
	if m := d.add(now, first); m == nil {
		t.Error("the first of a new window is not sent")
	}
}

func TestManyOwnersShareOneDigest(t *testing.T) {
	d := digests{make(map[string]*digest)}
	now, sent, counted := time.Now(), 0, uint64(0)
	const n = 3 * maxOwners
	for i := range n {
		l := *parsed(t, killed)
		l.ContainerID = fmt.Sprint("c", i)
		if d.add(now, &l) != nil {
			sent++
			counted++
		}
	}
	for _, m := range d.expire(now.Add(window)) {
		counted += m.verdicts()
	}
	if sent != maxOwners+1 || counted != n || len(d.owners) > maxOwners+1 {
		t.Errorf("%d sent, %d counted, %d owners", sent, counted, len(d.owners))
	}
}
