package systemd

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// listenAsSystemd returns a function that waits for the next message to the
// service manager.
func listenAsSystemd(t *testing.T) (next func() string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return func() string {
		t.Helper()
		if err := socket.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		message := make([]byte, 4096)
		n, err := socket.Read(message)
		if err != nil {
			t.Fatal(err)
		}
		return string(message[:n])
	}
}

func quiet() Notifier {
	return Notifier{Log: slog.New(slog.DiscardHandler)}
}

func TestTheServiceManagerIsNotified(t *testing.T) {
	next := listenAsSystemd(t)
	m := quiet()
	for _, c := range []struct {
		name   string
		notify func()
		want   string
	}{
		{"ready", func() { m.Ready("running") }, `READY=1\nSTATUS=running`},
		{"ready, with text from a file", func() { m.Ready("a.yaml:1: x\nb.yaml:1: \x1by") }, `READY=1\nSTATUS=a\.yaml:1: x; b\.yaml:1: \\x1by`},
		{"ready, with a long text", func() { m.Ready(strings.Repeat("x", 2000)) }, `READY=1\nSTATUS=x{1000}x{24}….*`},
		{"reloading", m.Reloading, `RELOADING=1\nMONOTONIC_USEC=[1-9]\d{3,}`},
		{"stopping", m.Stopping, `STOPPING=1`},
	} {
		c.notify()
		if got := next(); !regexp.MustCompile(`^` + c.want + `$`).MatchString(got) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestTheWatchdogIsNotNotifiedWhileTheAgentIsUnhealthy(t *testing.T) {
	next := listenAsSystemd(t)
	const period = 200 * time.Millisecond
	t.Setenv("WATCHDOG_USEC", strconv.FormatInt(period.Microseconds(), 10))
	ctx, stop := context.WithCancel(t.Context())
	var calls atomic.Int32
	ended := make(chan error)
	go func() {
		ended <- quiet().Watch(ctx, func() error {
			if n := calls.Add(1); n == 2 || n == 3 {
				return errors.New("unhealthy")
			}
			return nil
		})
	}()
	if got := next(); got != "WATCHDOG=1" || calls.Load() != 1 {
		t.Errorf("got %q after %d checks", got, calls.Load())
	}
	if got := next(); got != "WATCHDOG=1" || calls.Load() != 4 {
		t.Errorf("got %q after %d checks, want no message for the second and third", got, calls.Load())
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestWithoutAServiceManagerNoMessageIsSent(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	t.Setenv("WATCHDOG_USEC", "")
	m := quiet()
	m.Ready("")
	alive := func() error { t.Error("health checked without a watchdog"); return nil }
	if err := m.Watch(t.Context(), alive); err != nil {
		t.Error(err)
	}
	// A watchdog for the parent process.
	t.Setenv("WATCHDOG_USEC", "1000000")
	t.Setenv("WATCHDOG_PID", "1")
	if err := m.Watch(t.Context(), alive); err != nil {
		t.Error(err)
	}
}

func TestAnInvalidWatchdogPeriodIsAnError(t *testing.T) {
	t.Setenv("WATCHDOG_USEC", "soon")
	if err := quiet().Watch(t.Context(), func() error { return nil }); err == nil {
		t.Error("no error")
	}
}
