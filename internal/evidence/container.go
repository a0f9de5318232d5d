package evidence

import (
	"cmp"
	"context"
	"log/slog"
	"math"
	"slices"

	"github.com/cryptnono/cryptnono/internal/printable"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/procread"
	"github.com/cryptnono/cryptnono/internal/report"
)

const (
	// maxShown bounds the processes in a line about a container: those that have computed most.
	// They are chosen from maxChosen, half of them the oldest and half the newest.
	maxShown, maxChosen = 32, 512
)

// A running process of a container.
type running struct {
	PID     int     `json:"pid"`
	PPID    int     `json:"ppid"`
	UID     uint32  `json:"uid"`
	Program string  `json:"program"`
	Cmdline string  `json:"cmdline,omitempty"`
	CPU     float64 `json:"cpu_seconds"`
	Threads int     `json:"threads"`

	who process.Who
}

// A connection is a TCP connection of a container.
type connection struct {
	Local  string `json:"local"`
	Remote string `json:"remote"`
	State  string `json:"state"`
}

// container returns the attributes of a line about the container of a process.
func (c *Collector) container(ctx context.Context, of process.Event, wanted Settings, in *peers) (attrs []slog.Attr) {
	name := readOwner(of)
	leave, ok := c.enter(ctx, name)
	if !ok {
		c.dropped.WithLabelValues(partContainer).Inc()
		return nil
	}
	defer leave()
	all := in.list()
	if wanted.Connections { // first: they close when their process ends
		attrs = append(attrs, c.connections(ctx, all, name, in)...)
	}
	if wanted.Processes {
		shown := describe(all)
		c.addCommands(ctx, name, shown)
		attrs = append(attrs, slog.Int("processes_total", len(all)), slog.Any("processes", shown))
	}
	return attrs
}

// describe returns the processes that have computed most.
func describe(all []process.Event) []running {
	if n := len(all); n > maxChosen {
		all = slices.Concat(all[:maxChosen/2], all[n-maxChosen/2:])
	}
	shown := make([]running, 0, min(len(all), maxChosen))
	for _, p := range all {
		info, _, err := process.Describe(p.PID)
		if err != nil || info.Start != p.Start {
			continue
		}
		shown = append(shown, running{
			PID: p.PID, PPID: info.PPID, UID: info.UID, Program: printable.Text([]byte(info.Program), maxShort),
			CPU: math.Round(info.CPU.Seconds()*100) / 100, Threads: info.Threads, who: p.Who,
		})
	}
	slices.SortStableFunc(shown, func(a, b running) int { return cmp.Compare(b.CPU, a.CPU) })
	return shown[:min(len(shown), maxShown)]
}

// addCommands adds the command lines, with secrets hidden, of the processes that can be read.
func (c *Collector) addCommands(ctx context.Context, name string, shown []running) {
	wants := make([]procread.Want, len(shown))
	for i, p := range shown {
		wants[i].PID = p.PID
	}
	_ = c.reader.ReadMany(ctx, name, wants, func(i int, b procread.Brief) { // what was not read is left out
		if now, err := process.Identify(shown[i].PID); err == nil && now.Start == shown[i].who.Start { // its number was not used again
			shown[i].Cmdline = printable.Short(report.Cmdline(b.Args, 0), maxShort)
		}
	})
}

// connections returns the attributes about the network namespace of a container.
func (c *Collector) connections(ctx context.Context, all []process.Event, name string, in *peers) []slog.Attr {
	for i, p := range all {
		if i == maxRoots {
			break
		}
		h, err := in.handle(p.Who)
		if err != nil {
			continue
		}
		found, err := c.reader.Connections(ctx, h, name)
		if err != nil {
			continue
		}
		if found.HostNetwork {
			return []slog.Attr{slog.Bool("host_network", true)}
		}
		shown := make([]connection, 0, len(found.List))
		for _, one := range found.List {
			shown = append(shown, connection{one.Local.String(), one.Remote.String(), one.StateName()})
		}
		attrs := []slog.Attr{slog.Any("connections", shown)}
		if found.More {
			attrs = append(attrs, slog.Bool("more_connections", true))
		}
		return attrs
	}
	return nil
}
