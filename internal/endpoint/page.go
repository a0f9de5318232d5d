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
	// pageInterval is the minimum time between two pages of metrics, pageTimeout the time
	// after which a request for one fails.
	pageInterval, pageTimeout = 20 * time.Millisecond, 10 * time.Second
)

// pages generates the page of metrics. Concurrent requests share one page, so their number
// does not matter. A page is generated after all requests that it answers.
type pages struct {
	source     prometheus.Gatherer
	log        *slog.Logger
	running    sync.WaitGroup
	generating sync.Mutex // held while a page is generated
	last       time.Time  // when the last page was finished

	mu    sync.Mutex
	next  *page // not started yet
	ended bool
}

// A page is ready when done is closed.
type page struct {
	done chan struct{}
	text []byte // empty if no metric could be collected
}

// get returns the page that is generated next.
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
		p.running.Go(func() { p.generate(next) }) // at most two goroutines, of which one waits
	}
	return p.next
}

func (p *pages) generate(n *page) {
	p.generating.Lock()
	defer p.generating.Unlock()
	time.Sleep(time.Until(p.last.Add(pageInterval)))
	p.mu.Lock()
	p.next = nil
	p.mu.Unlock()
	var err error
	if n.text, err = p.render(); err != nil {
		p.log.Error("collecting some metrics failed", "err", err)
	}
	p.last = time.Now()
	close(n.done)
}

// end waits for pages that are being generated. Later calls of get return an empty page.
func (p *pages) end() {
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
	p.running.Wait()
}

// render returns the page. With an error, some metrics are missing or the page is nil.
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
		http.Error(w, "collecting the metrics timed out", http.StatusServiceUnavailable)
		return
	}
	if len(n.text) == 0 {
		http.Error(w, "collecting the metrics failed", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", string(expfmt.NewFormat(expfmt.TypeTextPlain)))
	_, _ = w.Write(n.text)
}
