package learned

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"
)

// ErrNoAgent means that no agent serves the socket.
var ErrNoAgent = errors.New("no agent answers: cryptnono run must be running in this mount namespace, with hashwork.learned")

// List returns the files of the agent that serves a socket.
func List(ctx context.Context, socket string) ([]File, error) { return ask(ctx, socket, request{}) }

// Forget makes the agent forget files, and returns them.
func Forget(ctx context.Context, socket string, s Selection) ([]File, error) {
	return ask(ctx, socket, request{Forget: &s})
}

func ask(ctx context.Context, socket string, q request) ([]File, error) {
	ctx, cancel := context.WithTimeout(ctx, timeLimit)
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoAgent, err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(timeLimit)); err != nil {
		return nil, fmt.Errorf("asking the agent: %w", err)
	}
	var r response
	if err = json.NewEncoder(c).Encode(q); err == nil {
		err = json.NewDecoder(c).Decode(&r)
	}
	if err != nil {
		return nil, fmt.Errorf("asking the agent, which answers only root: %w", err)
	}
	if r.Error != "" {
		return nil, fmt.Errorf("the agent: %s", r.Error)
	}
	return r.Files, nil
}
