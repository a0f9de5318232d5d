package tcpflowkiller

import (
	"encoding/json"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

// resolver answers each question with 127.77.0.44.
func resolver(t *testing.T) {
	t.Helper()
	c, err := net.ListenPacket("udp", dns)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for b := make([]byte, 512); ; {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			end := 12
			for end < n && b[end] != 0 {
				end += int(b[end]) + 1
			}
			end += 5
			if end > n {
				continue
			}
			answer := append([]byte{}, b[:end]...)
			answer[2], answer[3] = 0x81, 0x80
			copy(answer[4:12], []byte{0, 1, 0, 0, 0, 0, 0, 0})
			if b[end-3] == 1 { // A
				answer[7] = 1
				answer = append(answer, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 77, 0, 44)
			}
			_, _ = c.WriteTo(answer, from)
		}
	}()
	t.Cleanup(func() { _ = c.Close(); <-ended })
}

// socksProxy accepts each request, and keeps what comes after it.
func socksProxy(t *testing.T, keep *sink) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			keep.mu.Lock()
			keep.open = append(keep.open, c)
			keep.mu.Unlock()
			go func() {
				b := make([]byte, 300)
				if _, err := io.ReadFull(c, b[:3]); err != nil {
					return
				}
				_, _ = c.Write([]byte{5, 0})
				if _, err := io.ReadFull(c, b[:5]); err != nil {
					return
				}
				left := 5
				if b[3] == 3 {
					left = int(b[4]) + 2
				}
				if _, err := io.ReadFull(c, b[:left]); err != nil {
					return
				}
				_, _ = c.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
				_, _ = io.Copy(keep, c)
			}()
		}
	}()
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

// A renamed xmrig, with a configuration file only, dies before its login arrives.
func TestXmrigReachesNoPool(t *testing.T) {
	root := testutil.Xmrig(t)
	resolver(t)
	b := newBed(t, bedOptions{cgroup: podCgroup})
	b.classify()
	const name = "xmr.minexmr.com"
	if err := os.WriteFile(filepath.Join(root, "etc/resolv.conf"), []byte("nameserver "+strings.TrimSuffix(dns, ":53")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(filepath.Join(root, "usr/bin/xmrig"))
	if err == nil {
		err = os.WriteFile(filepath.Join(root, "usr/bin/kernel-worker"), program, 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, host string
		pool       map[string]any
		socks      bool
	}{
		{"rx/0", "127.0.0.1", map[string]any{"algo": "rx/0"}, false},
		{"rx/wow", "127.0.0.1", map[string]any{"algo": "rx/wow"}, false},
		{"cn/r", "127.0.0.1", map[string]any{"algo": "cn/r"}, false},
		{"cn-pico", "127.0.0.1", map[string]any{"algo": "cn-pico"}, false},
		{"argon2/chukwav2", "127.0.0.1", map[string]any{"algo": "argon2/chukwav2"}, false},
		{"ghostrider", "127.0.0.1", map[string]any{"algo": "ghostrider"}, false},
		{"by name", name, map[string]any{"algo": "rx/0"}, false},
		{"TLS by DNS alone", name, map[string]any{"algo": "rx/0", "tls": true}, false},
		{"TLS with its name", name, map[string]any{"algo": "rx/0", "tls": true, "sni": true}, false},
		{"SOCKS", "127.0.0.1", map[string]any{"algo": "rx/0"}, true},
		{"SOCKS by name, with TLS", name, map[string]any{"algo": "rx/0", "tls": true}, true},
	} {
		s := newSink(t, "tcp4", "0.0.0.0:0")
		_, port, _ := net.SplitHostPort(s.Addr().String())
		c.pool["url"], c.pool["user"] = net.JoinHostPort(c.host, port), "48edfHu7V9Z84YzzMa6"
		if c.socks {
			c.pool["socks5"] = socksProxy(t, s)
		}
		text, err := json.Marshal(map[string]any{
			"autosave": false, "pools": []any{c.pool}, "donate-level": 1,
			"cpu": map[string]any{"enabled": true, "huge-pages": false, "max-threads-hint": 25}, "randomx": map[string]any{"mode": "light", "init": 1},
		})
		if err == nil {
			err = os.WriteFile(filepath.Join(root, "tmp/settings.json"), text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("chroot", root, "/usr/bin/kernel-worker", "-c", "/tmp/settings.json")
		var out strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &out
		b.run(cmd)
		kill := time.AfterFunc(testutil.Patience(30*time.Second), func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
		signal, status := ended(cmd)
		kill.Stop()
		if signal != syscall.SIGKILL {
			t.Errorf("%s: killed by %v, status %d: %s", c.name, signal, status, out.String())
		}
		if got := s.text(); got != "" {
			t.Errorf("%s: %.100q arrives", c.name, got)
		}
		if l := b.line(cmd.Process.Pid); l["action"] != "killed" || l["program"] != "kernel-worker" {
			t.Errorf("%s: %v", c.name, l)
		}
	}
}
