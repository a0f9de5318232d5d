package endpoint

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
)

const (
	// pageInterval is the time between two pages of metrics, and pageTimeout how long
	// somebody waits for one.
	pageInterval, pageTimeout = 20 * time.Millisecond, 10 * time.Second
)

// pages make the page of metrics: one for all who ask at the same time, so that it does
// not matter how many do. Each page is made after it was asked for.
type pages struct {
	source  prometheus.Gatherer
	log     *slog.Logger
	running sync.WaitGroup
	making  sync.Mutex // held while a page is made
	last    time.Time  // when one was made

	mu    sync.Mutex
	next  *page // that is not begun yet
	ended bool
}

// A page is ready when done is closed.
type page struct {
	done chan struct{}
	text []byte // empty if nothing could be read
}

// get returns the page that is made next.
func (p *pages) get() *page {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next == nil {
		next := &page{done: make(chan struct{})}
		if p.ended {
			close(next.done)
			return next
		}
		p.next = next
		p.running.Go(func() { p.make(next) }) // two at most, of which one waits
	}
	return p.next
}

func (p *pages) make(n *page) {
	p.making.Lock()
	defer p.making.Unlock()
	time.Sleep(time.Until(p.last.Add(pageInterval)))
	p.mu.Lock()
	p.next = nil
	p.mu.Unlock()
	var err error
	if n.text, err = p.render(); err != nil {
		p.log.Error("metrics are missing", "err", err)
	}
	p.last = time.Now()
	close(n.done)
}

// end returns when no page is being made. None is made any more.
func (p *pages) end() {
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
	p.running.Wait()
}

// render returns what there is, and an error that says what is missing.
func (p *pages) render() ([]byte, error) {
	families, err := p.source.Gather()
	var text bytes.Buffer
	encoder := expfmt.NewEncoder(&text, expfmt.NewFormat(expfmt.TypeTextPlain))
	for _, f := range families {
		if err := encoder.Encode(f); err != nil {
			return nil, fmt.Errorf("writing the metric %s: %w", f.GetName(), err)
		}
	}
	return text.Bytes(), err
}

// ServeHTTP implements http.Handler.
func (p *pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := p.get()
	select {
	case <-n.done:
	case <-r.Context().Done():
		return
	case <-time.After(pageTimeout):
		http.Error(w, "the metrics are not ready in time", http.StatusServiceUnavailable)
		return
	}
	if len(n.text) == 0 {
		http.Error(w, "the metrics cannot be read", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", string(expfmt.NewFormat(expfmt.TypeTextPlain)))
	_, _ = w.Write(n.text)
}
