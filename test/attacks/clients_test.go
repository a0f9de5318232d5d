package attacks

import (
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/test/agenttest"
)

// memoryMiB is the maximum memory of the agent under any attack: a fifth of the chart's limit.
const memoryMiB = 100

// clientRows are attacks by clients of the agent's port. Any pod of a cluster can be one.
func clientRows(_ *testing.T, b *bed) []row {
	const expected = "kubelet and Prometheus get responses, memory is bounded"
	return []row{
		{"C03", "idle connections from many addresses", expected, func(t *testing.T) (string, bool) {
			return besieged(t, b, times(2000, 20_000), 250, nil)
		}},
		{"C03b", "idle connections from the address of the kubelet too", expected, func(t *testing.T) (string, bool) {
			return besieged(t, b, times(1000, 10_000), 1, nil)
		}},
		{"C04", "300 connections that send 1 MB of header and wait", expected, func(t *testing.T) (string, bool) {
			return besieged(t, b, 300, 20, endlessHeader)
		}},
		{"C11", "so many connections with endless headers that they would exceed the chart's 512 MiB", expected, func(t *testing.T) (string, bool) {
			return besieged(t, b, times(600, 2000), 20, endlessHeader)
		}},
		{"t05", "16 clients that query the metrics continuously", expected, func(t *testing.T) (string, bool) {
			return asking(t, b)
		}},
		{"C05,C12", "connections that use up the agent's descriptors", "scans continue, a banned program is killed, no kill is logged as missed, the kubelet gets a response", func(t *testing.T) (string, bool) {
			return descriptors(t, b)
		}},
	}
}

// endlessHeader sends a header of 1 MB that does not end.
func endlessHeader(c net.Conn) {
	_ = c.SetWriteDeadline(time.Now().Add(5 * time.Second))
	_, _ = c.Write([]byte("GET /metrics HTTP/1.1\r\nHost: x\r\nX: "))
	_, _ = c.Write([]byte(strings.Repeat("x", 1_000_000)))
}

// besiege makes n connections from a number of loopback addresses, and calls do for each. It
// returns a function that closes them.
func besiege(t *testing.T, a *agenttest.Agent, n, addresses int, do func(net.Conn)) (leave func()) {
	t.Helper()
	var open sync.Map
	var workers sync.WaitGroup
	next := make(chan int)
	for range 100 {
		workers.Go(func() {
			for i := range next {
				from := net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}
				if addresses > 1 {
					from.IP = net.IPv4(127, 0, 1, byte(1+i%addresses))
				}
				c, err := (&net.Dialer{LocalAddr: &from, Timeout: 2 * time.Second}).Dial("tcp", strings.TrimPrefix(a.URL, "http://"))
				if err != nil {
					continue
				}
				open.Store(i, c)
				do(c)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	workers.Wait()
	return func() {
		open.Range(func(_, c any) bool { return c.(net.Conn).Close() == nil || true })
	}
}

// idle makes n connections from a number of loopback addresses, in several processes because of
// the limit of descriptors, and keeps them open.
func idle(t *testing.T, b *bed, a *agenttest.Agent, n, addresses int) (made int) {
	t.Helper()
	const each = 5000
	_, port, _ := strings.Cut(strings.TrimPrefix(a.URL, "http://"), ":")
	var c crowd
	for from := 0; from < n; from += each {
		c.start(t, exec.Command(b.victim(t, "connect_many", "-static"), port, fmt.Sprint(min(each, n-from)), fmt.Sprint(addresses)))
	}
	for i := range c.groups {
		agenttest.Eventually(t, "connections that are made", func() bool { return c.output(i) != "" })
		var some int
		if _, err := fmt.Sscan(c.output(i), &some); err != nil {
			t.Fatal(err)
		}
		made += some
	}
	return made
}

// besieged makes n connections to an agent with the chart's memory limit.
func besieged(t *testing.T, b *bed, n, addresses int, do func(net.Conn)) (seen string, ok bool) {
	t.Helper()
	limit := agenttest.MemoryLimit(t, "attacks-limit", 512<<20)
	word := agenttest.NewWord()
	a := agenttest.Start(t, agenttest.Options{
		Rules: agenttest.Rules{Strings: []string{word}}, MayFail: true, Wrap: agenttest.Entering(limit),
	})
	peak := watchMemory(t, a)
	if do == nil {
		n = idle(t, b, a, n, addresses)
	} else {
		defer besiege(t, a, n, addresses, do)()
	}
	health, _, _ := a.Get("/healthz", soon())
	metrics, _, _ := a.Get("/metrics", soon())
	memory := peak()
	alive := !a.Over()
	fate, dead := dies(exec.Command("/bin/echo", word))
	return fmt.Sprintf("with %d connections: alive: %v, %d MiB, /healthz %d, /metrics %d, a banned program %s", n, alive, memory, health, metrics, fate),
		alive && memory < memoryMiB && health == http.StatusOK && metrics == http.StatusOK && dead
}

// asking queries the metrics from 16 clients for some seconds.
func asking(t *testing.T, b *bed) (seen string, ok bool) {
	t.Helper()
	a := agenttest.Start(t, agenttest.Options{Rules: agenttest.Rules{Strings: []string{agenttest.NewWord()}}, MayFail: true})
	var clients sync.WaitGroup
	end := time.Now().Add(time.Duration(times(2, 60)) * time.Second)
	for range 16 {
		clients.Go(func() {
			for time.Now().Before(end) {
				_, _, _ = a.Get("/metrics", time.Second)
			}
		})
	}
	memory := 0
	for time.Now().Before(end) {
		memory = max(memory, a.MemoryMiB())
		time.Sleep(100 * time.Millisecond)
	}
	clients.Wait()
	health, _, _ := a.Get("/healthz", soon())
	return fmt.Sprintf("%d MiB, /healthz %d", memory, health), memory < memoryMiB && health == http.StatusOK
}

// descriptors makes more connections than the agent's limit of descriptors.
func descriptors(t *testing.T, b *bed) (seen string, ok bool) {
	t.Helper()
	word := agenttest.NewWord()
	a := agenttest.Start(t, agenttest.Options{
		Rules:    agenttest.Rules{Strings: []string{word}},
		Settings: map[string]any{"scanInterval": "1s"},
		Wrap:     []string{"prlimit", "--nofile=128:128"},
		MayFail:  true,
	})
	peak := watchMemory(t, a)
	idle(t, b, a, 400, 20)
	later := foundLater(t, b, a)
	time.Sleep(1500 * time.Millisecond)
	alive := !a.Over()
	health, _, _ := a.Get("/healthz", soon())
	missed := len(a.Lines(func(l agenttest.Line) bool { return l.Action == "missed-kill" }))
	memory := peak()
	return fmt.Sprintf("alive: %v, %d MiB, found by a scan: %v, %d logged as missed, /healthz %d, %s", alive, memory, later, missed, health, strings.TrimSpace(a.Errors())),
		alive && memory < memoryMiB && later && missed == 0 && health == http.StatusOK
}
