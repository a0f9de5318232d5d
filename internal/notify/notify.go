// Package notify sends verdicts to HTTP servers: the lines of the log, or digests of them.
package notify

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cryptnono/cryptnono/internal/report"
)

const (
	// maxInbox is the size in bytes of the lines that wait to be decoded.
	maxInbox = 1 << 20
	// expireInterval is the time between two checks for windows that have ended.
	expireInterval = time.Second
)

// A Notifier sends log lines to receivers. Write only queues lines: the rest happens in other
// goroutines, so no verdict and no log line waits for a receiver. All queues are bounded, and
// what they have no room for is counted as lost. It is safe for concurrent use.
type Notifier struct {
	version            string
	sent, failed, lost *prometheus.CounterVec
	wake, stop, done   chan struct{}

	work sync.Mutex // held while lines are given to receivers, and while those are replaced

	mu      sync.Mutex
	inbox   [][]byte
	size    int // of inbox
	outlets []*outlet
}

// An outlet is a receiver with what waits for it.
type outlet struct {
	receiver Receiver
	sender   *sender
	digests  digests // guarded by Notifier.work
}

// New returns a notifier without receivers. It must be closed.
func New(version string) *Notifier {
	counter := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "cryptnono_notification" + name + "_total", Help: help}, []string{"receiver"})
	}
	n := &Notifier{
		version: version,
		sent:    counter("s_sent", "Notifications that a receiver has accepted."),
		failed:  counter("_attempts_failed", "Attempts to send a notification that failed. Most are repeated."),
		lost:    counter("s_lost", "Notifications that were not delivered: there were too many, the receiver did not accept them in time, or refused them."),
		wake:    make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
	}
	go n.run()
	return n
}

// Describe implements prometheus.Collector.
func (n *Notifier) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range []*prometheus.CounterVec{n.sent, n.failed, n.lost} {
		c.Describe(ch)
	}
}

// Collect implements prometheus.Collector.
func (n *Notifier) Collect(ch chan<- prometheus.Metric) {
	for _, c := range []*prometheus.CounterVec{n.sent, n.failed, n.lost} {
		c.Collect(ch)
	}
}

// Apply replaces the receivers, and logs their failures to log. A receiver with the same
// settings as before keeps its queue; what waits for others is lost.
func (n *Notifier) Apply(receivers []Receiver, log *slog.Logger) {
	n.work.Lock()
	defer n.work.Unlock()
	n.mu.Lock()
	var outlets []*outlet
	old := n.outlets
	for _, r := range receivers {
		if i := slices.IndexFunc(old, func(o *outlet) bool { return o.receiver.equal(r) }); i >= 0 {
			outlets = append(outlets, old[i])
			old = slices.Delete(slices.Clone(old), i, i+1)
			continue
		}
		outlets = append(outlets, n.open(r, log))
	}
	n.outlets = outlets
	n.mu.Unlock()
	for _, o := range old {
		o.sender.cancel()
	}
	expire(old, time.Now().Add(2*window)) // so that these are counted, too
	end(old, 0)
}

// open starts a receiver.
func (n *Notifier) open(r Receiver, log *slog.Logger) *outlet {
	s := newSender(newClient(r, n.version), log, n.sent.WithLabelValues(r.Name), n.failed.WithLabelValues(r.Name), n.lost.WithLabelValues(r.Name))
	go s.run()
	return &outlet{r, s, digests{make(map[string]*digest)}}
}

// end ends outlets concurrently.
func end(outlets []*outlet, grace time.Duration) {
	var all sync.WaitGroup
	for _, o := range outlets {
		all.Go(func() { o.sender.end(grace) })
	}
	all.Wait()
}

// Write queues a log line. It does not block and always succeeds.
func (n *Notifier) Write(text []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.outlets) == 0 {
		return len(text), nil
	}
	if n.size+len(text) > maxInbox {
		for _, o := range n.outlets {
			o.sender.lost.Inc()
		}
		return len(text), nil
	}
	n.inbox, n.size = append(n.inbox, bytes.Clone(text)), n.size+len(text)
	select {
	case n.wake <- struct{}{}:
	default: // already woken
	}
	return len(text), nil
}

// Close sends what is queued, with one attempt for each message and within the time wait. The
// rest is lost.
func (n *Notifier) Close(wait time.Duration) {
	close(n.stop)
	<-n.done
	n.mu.Lock()
	outlets := n.outlets
	n.outlets = nil
	n.mu.Unlock()
	end(outlets, wait)
}

func (n *Notifier) run() {
	defer close(n.done)
	tick := time.NewTicker(expireInterval)
	defer tick.Stop()
	for stopped := false; !stopped; {
		ended := time.Time{} // no window has ended
		select {
		case <-n.wake:
		case ended = <-tick.C:
		case <-n.stop:
			stopped, ended = true, time.Now().Add(2*window) // also those that begin now
		}
		n.distribute(time.Now(), ended)
	}
}

// distribute gives the lines in the inbox to the receivers, and the digests of the windows
// that have ended.
func (n *Notifier) distribute(now, ended time.Time) {
	n.work.Lock()
	defer n.work.Unlock()
	n.mu.Lock()
	inbox, outlets := n.inbox, n.outlets
	n.inbox, n.size = nil, 0
	n.mu.Unlock()
	for _, text := range inbox {
		l, err := parse(text)
		for _, o := range outlets {
			if err != nil { // a defect
				o.sender.lost.Inc()
				continue
			}
			o.take(now, l)
		}
	}
	expire(outlets, ended)
}

// expire sends the digests of the windows that have ended.
func expire(outlets []*outlet, now time.Time) {
	for _, o := range outlets {
		for _, m := range o.digests.expire(now) {
			o.sender.push(m)
		}
	}
}

// take takes a line if the receiver wants it.
func (o *outlet) take(now time.Time, l *line) {
	if !slices.Contains(o.receiver.Actions, string(l.Action)) {
		return
	}
	if o.receiver.Each {
		m := newMessage(now)
		m.line = l
		o.sender.push(&m)
		return
	}
	if m := o.digests.add(now, l); m != nil {
		o.sender.push(m)
	}
}

// Test sends a message to a receiver, once. Its action is "test".
func Test(ctx context.Context, r Receiver, version, node string) error {
	var text bytes.Buffer
	slog.New(slog.NewJSONHandler(&text, nil)).InfoContext(ctx, "a test of the notifications", "action", tested, "node", node)
	l, err := parse(text.Bytes())
	if err != nil {
		return err
	}
	c := newClient(r, version)
	defer c.close()
	m := newMessage(time.Now())
	if m.line = l; !r.Each {
		m.actions = map[report.Action]uint64{tested: 1}
	}
	return c.send(ctx, &m)
}
