package endpoint

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A logged text can be written to and read at the same time.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func TestOnlyAClientWithTheTokenGetsMetricsAndReasons(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(prometheus.NewCounter(prometheus.CounterOpts{Name: "stops_total", Help: "x"}))
	lines := new(logged)
	stopped := errors.New("a rule is stopped")
	e := &Server{
		TokenFile: file, Metrics: metrics,
		Healthy: func() error { return nil }, Ready: func() error { return stopped },
	}
	address, _ := serveWith(t, e, 16, slog.New(slog.NewTextHandler(lines, nil)))
	ask := func(path, authorization string) (int, string) {
		t.Helper()
		conn := dial(t, "127.0.0.1", address)
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		if authorization != "" {
			authorization = "Authorization: " + authorization + "\r\n"
		}
		_, _ = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n", path, authorization)
		r, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return r.StatusCode, string(body)
	}
	check := func(authorization string, allowed bool) {
		t.Helper()
		status, page := ask("/metrics", authorization)
		if ok := status == http.StatusOK && strings.Contains(page, "stops_total"); ok != allowed || !ok && status != http.StatusUnauthorized {
			t.Errorf("%q: /metrics has the status %d: %s", authorization, status, page)
		}
		status, page = ask("/readyz", authorization)
		if status != http.StatusServiceUnavailable || strings.Contains(page, stopped.Error()) != allowed {
			t.Errorf("%q: /readyz has the status %d: %s", authorization, status, page)
		}
		if status, page := ask("/healthz", authorization); status != http.StatusOK || page != "ok\n" {
			t.Errorf("%q: /healthz has the status %d: %s", authorization, status, page)
		}
	}
	const problem = "no client can read the metrics"
	check("", false) // it does not read the file
	if !strings.Contains(lines.String(), problem) {
		t.Error("at the start, the log does not have that the file is missing")
	}
	check("Bearer ", false)
	check("Bearer hunter2", false)

	write(" hunter2\n")
	check("", false)
	check("Bearer", false)
	check("Bearer ", false)
	check("Basic hunter2", false)
	check("Bearer hunter", false)
	check("Bearer hunter2 hunter2", false)
	check("Bearer hunter2", true)
	check("bearer  hunter2", true)

	write("another")
	check("Bearer hunter2", false)
	check("Bearer another", true)

	for _, text := range []string{" \n", "another" + strings.Repeat(" ", maxTokenBytes)} {
		write(text)
		check("Bearer ", false)
		check("Bearer another", false)
	}
	if n := strings.Count(lines.String(), problem); n != 2 { // and not for each request
		t.Errorf("%d lines about the file:\n%s", n, lines)
	}
	if strings.Contains(lines.String(), "another") || strings.Contains(lines.String(), "hunter") {
		t.Errorf("the log has a token:\n%s", lines)
	}
}
