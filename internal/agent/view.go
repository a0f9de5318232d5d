package agent

import (
	"context"
	"errors"
	"io"

	"github.com/cryptnono/cryptnono/internal/detector"
)

// View runs a view of a detector, which writes to out, until ctx ends.
func (a *Agent) View(ctx context.Context, k detector.Kind, run func(context.Context, detector.Screen, detector.Policy) error, out io.Writer) (err error) {
	s, err := a.open(a.Log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	return run(ctx, detector.Screen{Env: s.Env, Containers: s.containers, Out: out}, a.Policy.forDetector(k))
}
