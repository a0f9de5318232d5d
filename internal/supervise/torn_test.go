package supervise

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/report"
)

// An agent can end in the middle of a write to a pipe that is full: by a signal, and by a panic.
func TestTheLineAboutACrashIsWholeAfterATornOne(t *testing.T) {
	for name, end := range map[string]string{"killed": "kill -KILL $$", "crashed": "exit 2"} {
		t.Run(name, func(t *testing.T) {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			stdout := os.Stdout
			os.Stdout = w
			defer func() { os.Stdout = stdout }()
			out := report.NewWriter(w, func(w io.Writer, o *slog.HandlerOptions) slog.Handler { return slog.NewJSONHandler(w, o) })
			started := t.TempDir() + "/started"
			s := Supervisor{
				Program: "/bin/sh", Log: slog.New(slog.NewJSONHandler(out, nil)), Cut: out.Cut,
				Args: []string{"sh", "-c", "[ -e " + started + ` ] && exit 0; echo >` + started + `; printf '{"msg":"whole"}\n{"msg":"to'; ` + end},
			}
			if status, err := s.Run(context.Background()); status != 0 || err != nil {
				t.Errorf("status %d, %v", status, err)
			}
			if err := out.Close(time.Second); err != nil {
				t.Error(err)
			}
			w.Close()
			var whole []string
			for lines := bufio.NewScanner(r); lines.Scan(); {
				var line struct{ Msg string }
				if json.Unmarshal(lines.Bytes(), &line) == nil {
					whole = append(whole, line.Msg)
				}
			}
			if got := strings.Join(whole, ", "); got != "whole, agent ended, starting it again" {
				t.Errorf("whole lines: %s", got)
			}
		})
	}
}
