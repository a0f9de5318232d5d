// Package systemd notifies the service manager of the agent's state.
package systemd

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/printable"
)

// A Notifier notifies systemd as sd_notify(3) describes. It does nothing if no service
// manager started the agent. It is safe for concurrent use.
type Notifier struct{ Log *slog.Logger }

// Ready reports that the agent has started, or finished a reload. `systemctl status`
// shows the status, of which at most 1024 bytes are sent, in one line.
func (n Notifier) Ready(status string) {
	const most = 1024
	n.notify(daemon.SdNotifyReady + "\nSTATUS=" + printable.Visible(strings.ReplaceAll(status, "\n", "; "), most))
}

// Reloading reports the start of a reload. Ready must follow, also after a refused one.
func (n Notifier) Reloading() {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		n.Log.Warn("reading the clock for the service manager", "err", err)
		return
	}
	// Type=notify-reload requires the time.
	n.notify(fmt.Sprintf("%s\nMONOTONIC_USEC=%d", daemon.SdNotifyReloading, now.Nano()/1000))
}

// Stopping reports that the agent shuts down.
func (n Notifier) Stopping() { n.notify(daemon.SdNotifyStopping) }

// Watch pings the watchdog at half its period while alive succeeds, until ctx ends.
// Without a watchdog it returns immediately. systemd restarts the agent if pings are
// missing, also if alive does not return.
func (n Notifier) Watch(ctx context.Context, alive func() error) error {
	period, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return fmt.Errorf("reading the watchdog's period: %w", err)
	}
	if period == 0 {
		return nil
	}
	tick := time.NewTicker(period / 2)
	defer tick.Stop()
	for {
		if err := alive(); err == nil {
			n.notify(daemon.SdNotifyWatchdog)
		} else {
			n.Log.Error("health check failed, watchdog not notified", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (n Notifier) notify(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		n.Log.Warn("notifying the service manager", "err", err)
	}
}
