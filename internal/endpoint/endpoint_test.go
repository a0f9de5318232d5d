package endpoint

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"golang.org/x/sys/unix"
)

// serve serves e with at most `most` connections, and returns its address.
func serve(t *testing.T, e *Server, most int) (address string, c *connections) {
	t.Helper()
	return serveWith(t, e, most, slog.New(slog.DiscardHandler))
}

// serveWith is serve with a log.
func serveWith(t *testing.T, e *Server, most int, log *slog.Logger) (address string, c *connections) {
	t.Helper()
	l, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e.Log = log
	if e.Healthy == nil {
		e.Healthy = func() error { return nil }
	}
	if e.Ready == nil {
		e.Ready = func() error { return nil }
	}
	if e.Metrics == nil {
		e.Metrics = prometheus.NewRegistry()
	}
	c = limit(l, most)
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() { e.serveOn(ctx, c) })
	t.Cleanup(func() { cancel(); done.Wait() })
	return l.Addr().String(), c
}

// dial connects from a loopback address.
func dial(t *testing.T, from, to string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 10 * time.Second}
	conn, err := d.Dial("tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// get sends a request on a connection and returns the status and the body.
func get(t *testing.T, conn net.Conn, path string) (int, string) {
	t.Helper()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path)
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

func (c *connections) number() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.waiting.Len() + c.answering.Len()
}

func TestAClientCannotLockOutOthers(t *testing.T) {
	for name, from := range map[string]func(i int) string{
		"from one address":      func(int) string { return "127.0.0.2" },
		"from many addresses":   func(i int) string { return fmt.Sprintf("127.0.%d.%d", 1+i/200, 1+i%200) },
		"from the same address": func(int) string { return "127.0.0.1" },
	} {
		for what, header := range map[string]string{"idle": "", "in the middle of a header": "GET /healthz HTTP/1.1\r\nX: ", "idle after a request": "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"} {
			t.Run(name+", "+what, func(t *testing.T) {
				const most = 16
				address, c := serve(t, new(Server), most)
				regular := dial(t, "127.0.0.1", address) // of Prometheus
				for i := range 400 {
					_, _ = io.WriteString(dial(t, from(i), address), header)
					if i%40 == 0 {
						probe := dial(t, "127.0.0.1", address)
						if status, _ := get(t, probe, "/healthz"); status != http.StatusOK {
							t.Errorf("status %d", status)
						}
						probe.Close()
						if n := c.number(); n > most+1 {
							t.Errorf("%d connections", n)
						}
					}
				}
				if name == "from one address" { // its share does not affect other addresses
					if status, _ := get(t, regular, "/healthz"); status != http.StatusOK {
						t.Errorf("the connection from another address: status %d", status)
					}
				}
			})
		}
	}
}

func TestARequestIsBounded(t *testing.T) {
	address, _ := serve(t, new(Server), 16)
	conn := dial(t, "127.0.0.1", address)
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	go func() {
		_, _ = io.WriteString(conn, "GET /healthz HTTP/1.1\r\nX: "+strings.Repeat("x", 1<<20))
	}()
	r, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %d", r.StatusCode)
	}
}

func TestAClientThatDoesNotReadItsResponseDelaysNoOther(t *testing.T) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "x", Help: strings.Repeat("x", 200<<10)}))
	address, _ := serve(t, &Server{Metrics: registry}, 8)
	for range 30 {
		conn := dial(t, "127.0.0.1", address)
		_, _ = io.WriteString(conn, strings.Repeat("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 50))
	}
	for range 5 {
		status, body := get(t, dial(t, "127.0.0.1", address), "/metrics")
		if status != http.StatusOK || !strings.HasSuffix(body, "\nx 0\n") {
			t.Errorf("status %d, %d bytes", status, len(body))
		}
	}
}

func TestConcurrentRequestsShareOnePage(t *testing.T) {
	var generated atomic.Int32
	begin := make(chan struct{})
	p := &pages{log: slog.New(slog.DiscardHandler), source: prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		generated.Add(1)
		<-begin
		return nil, errors.New("no metrics")
	})}
	first := p.get()
	for generated.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	second := p.get() // the first is being generated
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			if got := p.get(); got != second {
				t.Error("another page")
			}
		})
	}
	all.Wait()
	close(begin)
	<-first.done
	<-second.done
	p.end()
	<-p.get().done
	if n := generated.Load(); n != 2 {
		t.Errorf("generated %d times", n)
	}
}

func TestHealthAndReadinessReportTheReason(t *testing.T) {
	e := &Server{
		Healthy: func() error { return errors.New("execwhacker events: no progress for 95 s") },
		Ready:   func() error { return errors.New("detector monero ended: x") },
	}
	address, _ := serve(t, e, 8)
	for path, want := range map[string]string{"/healthz": e.Healthy().Error() + "\n", "/readyz": e.Ready().Error() + "\n"} {
		if status, body := get(t, dial(t, "127.0.0.1", address), path); status != http.StatusServiceUnavailable || body != want {
			t.Errorf("%s: %d %q", path, status, body)
		}
	}
}

// outOfDescriptors is a listener whose first accepts fail with EMFILE.
type outOfDescriptors struct {
	net.Listener
	fails int
}

func (l *outOfDescriptors) Accept() (net.Conn, error) {
	if l.fails--; l.fails >= 0 {
		return nil, unix.EMFILE
	}
	return l.Listener.Accept()
}

func TestAcceptRetriesAfterAnError(t *testing.T) {
	l, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := limit(&outOfDescriptors{l, 2}, 4)
	dial(t, "127.0.0.1", l.Addr().String())
	conn, err := c.Accept()
	if err != nil || c.number() != 1 {
		t.Fatalf("got %v, %d", err, c.number())
	}
	conn.Close()
	if n := c.number(); n != 0 {
		t.Errorf("%d connections after the last was closed", n)
	}
	l.Close()
	if _, err := c.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestAddressesOfOneClientShareALimit(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"10.0.0.1", "10.0.0.1", true},
		{"10.0.0.1", "10.0.0.2", false},
		{"::ffff:10.0.0.1", "10.0.0.1", true},
		{"2001:db8::1", "2001:db8::ffff:1", true},
		{"2001:db8::1", "2001:db8:0:1::1", false},
		{"fe80::1%lo", "fe80::2%lo", true},
	} {
		address := func(text string) net.Addr {
			ip, zone, _ := strings.Cut(text, "%")
			return &net.TCPAddr{IP: net.ParseIP(ip), Zone: zone}
		}
		if got := addressOf(address(c.a)) == addressOf(address(c.b)); got != c.same {
			t.Errorf("%s and %s: got %v", c.a, c.b, got)
		}
	}
}
