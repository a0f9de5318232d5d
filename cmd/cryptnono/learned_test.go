package main

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/detector/hashwork/learned"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// oneFile is a learned.Store.
type oneFile struct{ forgotten bool }

func (o *oneFile) Files() ([]learned.File, error) {
	if o.forgotten {
		return nil, nil
	}
	at := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	return []learned.File{{ID: 7, Path: "/x/<worker>", Learned: at, Expires: at, Hits: 3}}, nil
}

func (o *oneFile) Forget(s learned.Selection) ([]learned.File, error) {
	all, _ := o.Files()
	if len(all) == 0 || !s.Has(all[0]) {
		return nil, nil
	}
	o.forgotten = true
	return all, nil
}

func TestLearnedFilesAreListedAndForgotten(t *testing.T) {
	testutil.Privileged(t)
	socket := filepath.Join(t.TempDir(), "learned.sock")
	s, err := learned.Listen(socket, new(oneFile))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx) }()
	for _, c := range []struct {
		args   string
		status int
		out    string // part of the output
	}{
		{"list", exitOK, "/x/<worker>"},
		{"list --json", exitOK, `{"id":7,"file":"/x/<worker>","inode":0,"device":0,"generation":0,"pid":0,"uid":0,"cgroup":"","learned":"2026-11-01T12:00:00Z","hits":3,"expires":"2026-11-01T12:00:00Z"}` + "\n"},
		{"forget 8", exitFailed, "no learned file is 8"},
		{"forget /x", exitFailed, "no learned file is /x"},
		{"forget /x/<worker>", exitOK, "forgot 7: /x/<worker>\n"},
		{"forget --all", exitOK, "no learned files\n"},
		{"list --json", exitOK, ""},
	} {
		var out bytes.Buffer
		args := append([]string{"learned", "--socket", socket}, strings.Fields(c.args)...)
		if status := run(t.Context(), args, &out, &out); status != c.status || !strings.Contains(out.String(), c.out) || c.out == "" && out.Len() > 0 {
			t.Errorf("%s: status %d, %q", c.args, status, out.String())
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
