package acceptance

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/testutil"
	"github.com/cryptnono/cryptnono/test/agenttest"
)

// openConnections opens connections to the agent from many addresses of the loopback and sends
// text on each.
func openConnections(t *testing.T, a *agenttest.Agent, n int, text string) (stop func()) {
	t.Helper()
	needDescriptors(t, n)
	to := strings.TrimPrefix(a.URL, "http://")
	var all []net.Conn
	for i := range n {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, byte(1+i>>12), byte(i>>6), byte(1+i&63))}, Timeout: agenttest.Patience()}
		conn, err := d.Dial("tcp", to)
		if err != nil {
			continue // the agent closed it for a newer one
		}
		all = append(all, conn)
		_, _ = io.WriteString(conn, text)
	}
	return func() {
		for _, conn := range all {
			conn.Close()
		}
	}
}

// needDescriptors raises the limit of open descriptors of this process to more than n.
func needDescriptors(t *testing.T, n int) {
	t.Helper()
	need := uint64(n + 200)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Cur >= need {
		return
	}
	before := limit
	limit.Cur, limit.Max = need, max(limit.Max, need)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Skipf("a limit of %d descriptors: %v", limit.Cur, err)
	}
	t.Cleanup(func() { _ = unix.Setrlimit(unix.RLIMIT_NOFILE, &before) })
}

func TestManyConnectionsDoNotBlockTheEndpoints(t *testing.T) {
	testutil.Privileged(t)
	for name, c := range map[string]struct {
		connections int
		text        string
	}{
		"2,000 with headers that never end": {2000, "GET /metrics HTTP/1.1\r\nX: " + strings.Repeat("x", 1<<20)},
		"15,000 that are idle":              {15_000, ""},
		"5,000 that read no answer":         {5000, strings.Repeat("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 40)},
	} {
		t.Run(name, func(t *testing.T) {
			word := agenttest.NewWord()
			a := start(t, agenttest.Rules{Strings: []string{word}})
			prometheus := http.Client{Timeout: agenttest.Patience()}
			defer prometheus.CloseIdleConnections()
			scrape := func() {
				t.Helper()
				r, err := prometheus.Get(a.URL + "/metrics")
				if err != nil {
					t.Fatal(err)
				}
				defer r.Body.Close()
				if page, err := io.ReadAll(r.Body); err != nil || r.StatusCode != http.StatusOK || !strings.Contains(string(page), "cryptnono_build_info") {
					t.Errorf("%v, status %d, %d bytes", err, r.StatusCode, len(page))
				}
			}
			scrape()
			enough := make(chan struct{})
			var probes sync.WaitGroup
			probes.Go(func() { probeUntil(t, a, enough) })
			endProbes := sync.OnceFunc(func() { close(enough); probes.Wait() })
			defer endProbes()
			stop := openConnections(t, a, c.connections, c.text)
			defer stop()
			scrape()
			endProbes()
			scrape()
			dies(t, exec.Command("/bin/echo", word))
			memory := a.MemoryMiB()
			if memory >= 100 {
				t.Errorf("the agent has %d MiB", memory)
			}
			if n := a.Descriptors(); n > 1200 {
				t.Errorf("the agent has %d descriptors", n)
			}
			t.Logf("%d MiB", memory)
		})
	}
}

// probeUntil queries /healthz as kubelet does until stop is closed. The test fails if two
// successive probes fail; kubelet's threshold is higher.
func probeUntil(t *testing.T, a *agenttest.Agent, stop <-chan struct{}) {
	kubelet := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: agenttest.Patience()}
	answered, failed, row := 0, 0, 0
	for {
		r, err := kubelet.Get(a.URL + "/healthz")
		if err == nil {
			r.Body.Close()
			answered++
			row = 0
		} else if failed++; row == 1 {
			t.Errorf("second probe in succession: %v", err)
		} else {
			row++
		}
		select {
		case <-stop:
			t.Logf("%d probes answered, %d failed", answered, failed)
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// The limit leaves the agent few descriptors beyond those that it has without connections.
func TestConnectionsDoNotUseUpTheDescriptorsForKills(t *testing.T) {
	testutil.Privileged(t)
	word := agenttest.NewWord()
	before := bannedRunning(t, 3, word)
	a := agenttest.Start(t, agenttest.Options{
		Rules: agenttest.Rules{Strings: []string{word}}, Settings: map[string]any{"scanInterval": "1s"},
		Wrap: []string{"/bin/sh", "-c", `ulimit -n 128; exec "$0" "$@"`},
	})
	for _, s := range before {
		s.isKilled()
	}
	stop := openConnections(t, a, 300, "")
	defer stop()
	for range 3 {
		dies(t, exec.Command("/bin/echo", word))
		word = agenttest.NewWord()
		running := sleep(t, word)
		write(t, a.Rules, `{"bannedCommandStrings": ["`+word+`"]}`) // a reload causes a scan
		running.isKilled()
	}
	if status, _ := get(t, a, "/healthz"); status != http.StatusOK {
		t.Errorf("status %d", status)
	}
	if missed := a.Metrics(t)[`processes_missed_total{source="scan"}`]; missed != 0 {
		t.Errorf("%v missed", missed)
	}
}

func TestTheAgentProtectsWhileItsPortIsInUse(t *testing.T) {
	t.Parallel()
	testutil.Privileged(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	word := agenttest.NewWord()
	a := start(t, agenttest.Rules{Strings: []string{word}}, "--listen", taken.Addr().String())
	dies(t, exec.Command("/bin/echo", word))
	a.Line(t, "about the port", func(l agenttest.Line) bool {
		return l.Level == "ERROR" && strings.HasPrefix(l.Msg, "address in use") && strings.Contains(l.Err, "address already in use")
	})
	taken.Close()
	l := a.Line(t, "that it listens", func(l agenttest.Line) bool { return l.Msg == "listening" })
	conn, err := net.Dial("tcp", l.Listen)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "GET /readyz HTTP/1.0\r\n\r\n")
	if answer, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.Contains(answer, "200 OK") {
		t.Errorf("%q, %v", answer, err)
	}
}
