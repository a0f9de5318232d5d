// Package endpoint serves health, readiness and metrics over HTTP. A misbehaving client
// cannot prevent others from being served.
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
	// maxHeader is the maximum length of a request in bytes.
	maxHeader = 8 << 10
	// Time limits for reading a request and for writing its response.
	requestTimeout, responseTimeout = 5 * time.Second, 15 * time.Second
	// listenRetry is the pause before listening on a port in use is retried.
	listenRetry = 5 * time.Second
)

// A Server serves health and metrics. Each client has a bounded share of the agent's
// memory, file descriptors and time.
type Server struct {
	Address string
	// TokenFile has the bearer token of clients. Others get only the status of health and
	// readiness. "" if all clients may read everything.
	TokenFile string
	Log       *slog.Logger
	// Healthy and Ready return nil, or an error with the reason. They do not block.
	Healthy, Ready func() error
	Metrics        prometheus.Gatherer
}

// Serve serves on listener until ctx ends. If listener is nil because the port is in use,
// it retries until the port is free: a port in use must not stop the agent.
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
		s.Log.Warn("determining the maximum number of connections", "err", err)
		most = minConnections
	}
	s.serveOn(ctx, limit(listener, most))
}

// serveOn serves on connections until ctx ends.
func (s *Server) serveOn(ctx context.Context, connections *connections) {
	pages := &pages{source: s.Metrics, log: s.Log}
	allowed := &access{file: s.TokenFile, log: s.Log}
	if s.TokenFile != "" {
		allowed.token() // to log an error now
	}
	server := &http.Server{
		Handler:           s.handler(pages, allowed),
		ConnState:         connections.stateChanged,
		MaxHeaderBytes:    maxHeader,
		ReadHeaderTimeout: requestTimeout,
		ReadTimeout:       requestTimeout,
		WriteTimeout:      responseTimeout,
		ErrorLog:          slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug),
	}
	server.SetKeepAlivesEnabled(false) // one request per connection, so that clients share the connections
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	// Serve returns only after Close: see connections.Accept.
	if err := server.Serve(connections); !errors.Is(err, http.ErrServerClosed) {
		s.Log.Error("serving metrics", "err", err)
	}
	pages.end()
}

func (s *Server) handler(pages *pages, allowed *access) http.Handler {
	status := func(check func() error) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			err := check()
			switch {
			case err == nil:
				_, _ = io.WriteString(w, "ok\n")
			case allowed.allows(r):
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
			default:
				http.Error(w, "not ok: a client with the token gets the reason", http.StatusServiceUnavailable)
			}
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", status(s.Healthy))
	mux.HandleFunc("GET /readyz", status(s.Ready))
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		if !allowed.allows(r) {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "the token is needed", http.StatusUnauthorized)
			return
		}
		pages.ServeHTTP(w, r)
	})
	return mux
}
