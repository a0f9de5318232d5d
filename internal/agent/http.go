package agent

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

func (a *Agent) registry(d *detectors, r *reloader) *prometheus.Registry {
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "cryptnono_build_info",
		Help:        "1, with the version of the program.",
		ConstLabels: prometheus.Labels{"version": a.Version},
	})
	info.Set(1)
	registry := prometheus.NewRegistry()
	registry.MustRegister(info, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		r.success, r.last, d, d.shared.guard.Collector(), d.shared.containers.Collector(), d.shared.reader.Collector(),
		d.shared.report.Collector(), a.Output.Collector(), d.shared.health)
	return registry
}

const (
	// maxHeader is the length in bytes of a request. Nobody who asks for metrics or
	// health needs more.
	maxHeader = 8 << 10
	// Times for a request and for its answer.
	requestTimeout, answerTimeout = 5 * time.Second, 15 * time.Second
	// listenRetry is the pause until a port that is in use is tried again.
	listenRetry = 5 * time.Second
)

// An endpoint answers for health and metrics. Whoever reaches its port has a bounded
// share of the agent's memory, descriptors and time.
type endpoint struct {
	address string
	log     *slog.Logger
	// healthy and ready return nil, or say what is not. They wait for nobody.
	healthy, ready func() error
	metrics        prometheus.Gatherer
}

// serve answers on listener until ctx ends, or, if that is nil because the port is in
// use, as soon as it is free: whoever holds the port must not keep the agent from its
// work.
func (e *endpoint) serve(ctx context.Context, listener net.Listener) {
	for listener == nil {
		select {
		case <-ctx.Done():
			return
		case <-time.After(listenRetry):
		}
		var err error
		if listener, err = listen(e.address); err == nil {
			e.log.Info("listening", "listen", listener.Addr().String())
		}
	}
	most, err := connectionShare()
	if err != nil {
		e.log.Warn("number of connections not found out", "err", err)
		most = minConnections
	}
	e.serveOn(ctx, limit(listener, most))
}

// serveOn answers on connections until ctx ends.
func (e *endpoint) serveOn(ctx context.Context, connections *connections) {
	pages := &pages{source: e.metrics, log: e.log}
	server := &http.Server{
		Handler:           e.handler(pages),
		ConnState:         connections.note,
		MaxHeaderBytes:    maxHeader,
		ReadHeaderTimeout: requestTimeout,
		ReadTimeout:       requestTimeout,
		WriteTimeout:      answerTimeout,
		ErrorLog:          slog.NewLogLogger(e.log.Handler(), slog.LevelDebug),
	}
	server.SetKeepAlivesEnabled(false) // one request a connection: whoever wants more has to wait his turn again
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	// It ends by Close alone: see connections.Accept.
	if err := server.Serve(connections); !errors.Is(err, http.ErrServerClosed) {
		e.log.Error("serving metrics", "err", err)
	}
	pages.end()
}

func (e *endpoint) handler(pages *pages) http.Handler {
	answer := func(well func() error) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			if err := well(); err != nil {
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
				return
			}
			_, _ = io.WriteString(w, "ok\n")
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", answer(e.healthy))
	mux.HandleFunc("GET /readyz", answer(e.ready))
	mux.Handle("GET /metrics", pages)
	return mux
}
