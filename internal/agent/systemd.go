package agent

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// A serviceManager tells systemd how the agent is, as sd_notify(3) describes. If
// no service manager has started the agent, nothing is told and nothing is done.
// Its methods may be called at once.
type serviceManager struct {
	log *slog.Logger
}

// ready says that the agent protects, at its start and after a reload. The status
// is what `systemctl status` shows.
func (m serviceManager) ready(status string) {
	m.tell(daemon.SdNotifyReady + "\nSTATUS=" + status)
}

// reloading says that settings and rules are being read anew. ready must follow,
// also if they are refused.
func (m serviceManager) reloading() {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		m.log.Warn("reading the clock for the service manager", "err", err)
		return
	}
	// The time is asked for by Type=notify-reload.
	m.tell(fmt.Sprintf("%s\nMONOTONIC_USEC=%d", daemon.SdNotifyReloading, now.Nano()/1000))
}

// stopping says that the agent ends in good order.
func (m serviceManager) stopping() {
	m.tell(daemon.SdNotifyStopping)
}

// watch says that the agent is alive, twice in each period after which systemd
// takes it for hung and starts it anew. It does so as long as alive returns
// without an error, and ends with ctx, or at once if nobody watches. An alive
// that does not return is as good as one that fails.
func (m serviceManager) watch(ctx context.Context, alive func() error) error {
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
			m.tell(daemon.SdNotifyWatchdog)
		} else {
			m.log.Error("not well, so the watchdog is not told otherwise", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (m serviceManager) tell(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		m.log.Warn("telling the service manager", "err", err)
	}
}
