// Package endpoint serves health, readiness and metrics over HTTP. Clients that misbehave
// keep nobody else from being served.
package endpoint

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// maxHeader is the length in bytes of a request. Nobody who asks for metrics or
	// health needs more.
	maxHeader = 8 << 10
	// Times for a request and for its answer.
	requestTimeout, answerTimeout = 5 * time.Second, 15 * time.Second
	// listenRetry is the pause until a port that is in use is tried again.
	listenRetry = 5 * time.Second
)

// A Server answers for health and metrics. Each client has a bounded share of the agent's
// memory, descriptors and time.
type Server struct {
	Address string
	Log     *slog.Logger
	// Healthy and Ready return nil, or say what is not. They wait for nobody.
	Healthy, Ready func() error
	Metrics        prometheus.Gatherer
}

// Serve answers on listener until ctx ends. If listener is nil because the port is in use,
// it answers as soon as the port is free: a port in use must not stop the agent.
func (s *Server) Serve(ctx context.Context, listener net.Listener) {
	for listener == nil {
		select {
		case <-ctx.Done():
			return
		case <-time.After(listenRetry):
		}
		var err error
		if listener, err = Listen(s.Address); err == nil {
			s.Log.Info("listening", "listen", listener.Addr().String())
		}
	}
	most, err := connectionShare()
	if err != nil {
		s.Log.Warn("number of connections not found out", "err", err)
		most = minConnections
	}
	s.serveOn(ctx, limit(listener, most))
}

// serveOn answers on connections until ctx ends.
func (s *Server) serveOn(ctx context.Context, connections *connections) {
	pages := &pages{source: s.Metrics, log: s.Log}
	server := &http.Server{
		Handler:           s.handler(pages),
		ConnState:         connections.note,
		MaxHeaderBytes:    maxHeader,
		ReadHeaderTimeout: requestTimeout,
		ReadTimeout:       requestTimeout,
		WriteTimeout:      answerTimeout,
		ErrorLog:          slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug),
	}
	server.SetKeepAlivesEnabled(false) // one request a connection: whoever wants more has to wait his turn again
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	// It ends by Close alone: see connections.Accept.
	if err := server.Serve(connections); !errors.Is(err, http.ErrServerClosed) {
		s.Log.Error("serving metrics", "err", err)
	}
	pages.end()
}

func (s *Server) handler(pages *pages) http.Handler {
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
	mux.HandleFunc("GET /healthz", answer(s.Healthy))
	mux.HandleFunc("GET /readyz", answer(s.Ready))
	mux.Handle("GET /metrics", pages)
	return mux
}
