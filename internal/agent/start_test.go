package agent

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cryptnono/cryptnono/internal/systemd"
)

// With the race detector, it also shows that nothing is reloaded while the state of the start is read.
func TestAnAgentIsReadyBeforeItReloads(t *testing.T) {
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	t.Setenv("NOTIFY_SOCKET", socket.LocalAddr().String())
	a := &Agent{Log: slog.New(slog.DiscardHandler), Read: func() (Policy, error) { return Policy{}, errors.New("bad") }}
	p, err := Compile(ruleFiles(t, map[string]string{"a.yaml": "{}"}))
	if err != nil {
		t.Fatal(err)
	}
	a.Policy = p
	r := newReloader(a, newDetectors(nil, new(shared)))
	r.again = time.Now() // reloads with the first tick
	ctx, stop := context.WithCancel(t.Context())
	group, ctx := errgroup.WithContext(ctx)
	r.start(ctx, group, systemd.Notifier{Log: a.Log})
	var got []string
	for range 3 {
		message := make([]byte, 1024)
		n, err := socket.Read(message)
		if err != nil {
			t.Fatal(err)
		}
		state, _, _ := strings.Cut(string(message[:n]), "\n")
		got = append(got, state)
	}
	if want := "READY=1 RELOADING=1 READY=1"; strings.Join(got, " ") != want {
		t.Errorf("got %q, want %s", got, want)
	}
	stop()
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
}
