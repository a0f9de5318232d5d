package tcpflowkiller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/cilium/ebpf"

	"github.com/cryptnono/cryptnono/internal/fair"
	"github.com/cryptnono/cryptnono/internal/health"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/procread"
	"github.com/cryptnono/cryptnono/internal/report"
	"github.com/cryptnono/cryptnono/internal/verdict"
)

// judgedAtOnce is the number of older connections that are judged at the same time, each of another owner:
// while a process keeps its reader waiting, those of others are judged. One owner has one read at a time.
const judgedAtOnce = 4

// The pauses after which what could not be judged is judged again double from firstPause to maxPause.
const firstPause, maxPause = time.Second, time.Minute

// lastTry is after how many reads of a process that have failed a verdict on it does without its arguments: after
// the first pauses, which are 7 s together.
const lastTry = 3

// wantOlder has the connections judged that are there now.
func (d *Detector) wantOlder() {
	select {
	case d.applied <- struct{}{}:
	default:
	}
}

// judgeOlder judges the connections that are older than a policy, whenever there is a new one,
// until ctx ends.
func (d *Detector) judgeOlder(ctx context.Context) error {
	loop := d.Health.Loop(Name+" older connections", health.DefaultLimit)
	defer loop.End()
	return d.judgeListed(ctx, loop, d.olderConnections, d.judgeOne)
}

// judgeListed lists connections whenever there is a new policy, and judges each. What fails is tried
// again after a pause, unless there is a newer policy.
func (d *Detector) judgeListed(ctx context.Context, loop *health.Loop,
	list func(progress func()) (*policy, []older, error), judge func(context.Context, *policy, older) error,
) error {
	return loop.Retry(ctx, func() error {
		var p *policy
		var left []older // not judged yet
		var again <-chan time.Time
		pause := firstPause
		for {
			loop.Idle()
			select {
			case <-ctx.Done():
				return nil
			case <-d.applied:
				loop.Progress()
				var err error
				if p, left, err = list(loop.Progress); err != nil {
					d.wantOlder()
					return err
				}
				pause = firstPause
			case <-again:
			}
			again = nil
			left = d.judgeAll(ctx, left, func(o older) error {
				loop.Progress()
				return judge(ctx, p, o)
			})
			if len(left) > 0 {
				again = time.After(pause)
				pause = min(2*pause, maxPause)
			}
		}
	})
}

// An older is a connection to a banned address.
type older struct {
	ownedSocket
	rule  uint32
	turn  string // whose turn it takes: the Cgroup.Owner of its process, which users cannot choose
	tries int    // how many reads of its process have failed
}

// judgeAll judges connections, and returns those that could not be judged. Owners take turns, as in
// a scan of execwhacker: one with many processes that keep their readers waiting holds one worker. So the connections
// of a process, which has one owner, are judged one after the other, until it is gone. Once ctx has ended, no
// more are judged.
func (d *Detector) judgeAll(ctx context.Context, all []older, judge func(older) error) (left []older) {
	var mu sync.Mutex // of left and the next
	var last error
	workers := fair.NewSlots(judgedAtOnce)
	fair.EachOwner(all, func(o older) string { return o.turn }, func(_ string, its []older) {
		gone := make(map[*socketOwner]bool)
		for _, o := range its {
			if gone[o.owner] {
				continue
			}
			workers.Do(func() {
				if len(d.applied) > 0 || ctx.Err() != nil {
					return // all are listed again, by the next agent perhaps
				}
				err := judge(o)
				if errors.Is(err, procread.ErrStuck) {
					o.tries++
				}
				if errors.Is(err, process.ErrGone) {
					gone[o.owner] = true
				} else if err != nil {
					mu.Lock()
					left, last = append(left, o), err
					mu.Unlock()
				}
			})
		}
	})
	if len(d.applied) > 0 || ctx.Err() != nil {
		return nil
	}
	if len(left) > 0 {
		d.Log.Warn("older connections not judged, will retry", "detector", Name, "connections", len(left), "err", last)
	}
	return left
}

// forOlder returns copies of what older connections are found with, which a reload does not close.
func (o *bpfObjects) forOlder() (*bpfObjects, error) {
	c := new(bpfObjects)
	var errs [6]error
	c.ListSockets, errs[0] = o.ListSockets.Clone()
	c.Exact4, errs[1] = o.Exact4.Clone()
	c.Exact6, errs[2] = o.Exact6.Clone()
	c.Prefixes4, errs[3] = o.Prefixes4.Clone()
	c.Prefixes6, errs[4] = o.Prefixes6.Clone()
	c.RulePorts, errs[5] = o.RulePorts.Clone()
	if err := errors.Join(errs[:]...); err != nil {
		return nil, errors.Join(fmt.Errorf("listing sockets: %w", err), c.Close())
	}
	return c, nil
}

// olderConnections returns the connections to banned addresses, one of each process for each
// address. A reload does not wait for it.
func (d *Detector) olderConnections(progress func()) (*policy, []older, error) {
	d.mu.Lock()
	p := d.policy.Load()
	if len(p.lists.addresses) == 0 {
		d.mu.Unlock()
		return p, nil, nil
	}
	objs, err := d.objs.forOlder()
	d.mu.Unlock()
	if err != nil {
		return nil, nil, err
	}
	defer objs.Close()
	// Of each address, and of each process that is connected to a banned one.
	rules := make(map[netip.AddrPort]uint32)
	type connected struct {
		who process.Instance
		to  netip.AddrPort
	}
	seen := make(map[connected]bool)
	all, err := findSockets(objs.ListSockets, progress, func(who process.Instance, s *bpfListedSocket) (bool, error) {
		if s.State == stateListen || s.State == stateClose {
			return false, nil
		}
		to := netip.AddrPortFrom(addressOf(s.Peer), s.Peer.Port)
		rule, known := rules[to]
		if !known {
			var err error
			if rule, err = objs.ruleFor(to); err != nil {
				return false, err
			}
			rules[to] = rule
		}
		if rule == 0 || seen[connected{who, to}] {
			return false, nil
		}
		seen[connected{who, to}] = true
		return true, nil
	})
	if err != nil {
		return nil, nil, err
	}
	if len(all) == 0 {
		return p, nil, nil
	}
	processes, err := d.Inventory.Processes() // one list, as a user may have many that are connected
	if err != nil {
		return nil, nil, err
	}
	turns := make(map[process.Instance]string)
	for _, at := range processes {
		turns[at.Instance()] = at.Cgroup.Owner
	}
	var found []older
	for _, s := range all {
		rule := rules[netip.AddrPortFrom(addressOf(s.socket.Peer), s.socket.Peer.Port)]
		found = append(found, older{ownedSocket: s, rule: rule, turn: turns[s.owner.who]})
	}
	return p, found, nil
}

// judgeOne kills the process of a connection to a banned address, or logs why not. One that
// passes on what others send is left alone: its connection cannot be refused any more. The error is
// process.ErrGone if the process has ended or is killed. After another one nothing was done.
func (d *Detector) judgeOne(ctx context.Context, p *policy, o older) error {
	at, err := d.Inventory.Locate(o.owner.who.PID)
	if err != nil {
		return err
	}
	if at.Instance() != o.owner.who {
		return process.ErrGone
	}
	h, err := at.Open()
	if err != nil {
		return err
	}
	defer h.Close()
	if h.Protected() != nil {
		return nil
	}
	line := report.Verdict{Detector: Name, Source: reasons[bpfReasonBECAUSE_ADDRESS], After: process.SinceBoot() - at.Start}
	to := addressOf(o.socket.Peer)
	line.Matched = to.String()
	line.Rule = p.lists.origin(o.rule)
	details := []slog.Attr{
		slog.String("protocol", protocolName(o.socket.Protocol)), slog.String("destination", to.String()),
		slog.Int("port", int(o.socket.Peer.Port)), slog.Bool("refused", false), slog.Bool("older", true),
	}
	spared := o.owner.spared(&o.socket)
	if spared != bpfSparedNOT_SPARED {
		details = append(details, slog.String("spared", sparedBy(uint32(spared))))
	}
	line.Details = details
	info, err := d.Judge.Reader.Read(ctx, h, at.Cgroup.Owner)
	if err = d.Judge.Unread(ctx, err, at, false, o.tries >= lastTry); err != nil {
		return err // it is not known whether it is exempt
	}
	line.Program, line.Cmdline = report.Program([]byte(info.Program)), report.Cmdline(info.Args, 0)
	suspect := verdict.Suspect{
		Event: at, Handle: h, Programs: info.Paths(), LogEnv: p.LogEnv, Line: line, LimitKey: p.addressKey(o.rule),
		Observe: p.Observe || o.rule&observes != 0 || p.settings.capped(Kill) != Kill || spared != bpfSparedNOT_SPARED,
	}
	did, err := d.Judge.Decide(ctx, suspect, &d.tallies[bpfReasonBECAUSE_ADDRESS])
	if err == nil && (did == verdict.Killed || did == verdict.Missed) {
		return process.ErrGone // it may take a while to end
	}
	return err
}

// ruleFor returns the rule that bans an address, as the kernel finds it: banned in
// address.bpf.h.
func (o *bpfObjects) ruleFor(to netip.AddrPort) (uint32, error) {
	exact, prefixes := o.Exact6, o.Prefixes6
	var exactKey, prefixKey any
	if to.Addr().Is4() {
		exact, prefixes = o.Exact4, o.Prefixes4
		exactKey, prefixKey = word4(to.Addr()), bpfPrefix4{Length: 32, Word: word4(to.Addr())}
	} else {
		exactKey, prefixKey = words6(to.Addr()), bpfPrefix6{Length: 128, Word: words6(to.Addr())}
	}
	for _, in := range []struct {
		m   *ebpf.Map
		key any
	}{{exact, exactKey}, {prefixes, prefixKey}} {
		var value uint32
		if err := in.m.Lookup(in.key, &value); errors.Is(err, ebpf.ErrKeyNotExist) {
			continue
		} else if err != nil {
			return 0, fmt.Errorf("looking up %s: %w", to, err)
		}
		if value&anyPort != 0 {
			return value &^ anyPort, nil
		}
		for _, port := range []uint16{to.Port(), 0} {
			var rule uint32
			err := o.RulePorts.Lookup(bpfRulePort{Address: value, Port: uint32(port)}, &rule)
			if err == nil {
				return rule, nil
			} else if !errors.Is(err, ebpf.ErrKeyNotExist) {
				return 0, fmt.Errorf("looking up port %d: %w", port, err)
			}
		}
		return 0, nil
	}
	return 0, nil
}
