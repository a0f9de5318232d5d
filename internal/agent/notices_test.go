package agent

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/cryptnono/cryptnono/internal/config"
	known "github.com/cryptnono/cryptnono/internal/detectors"
)

func TestEachNoticeIsALineOfTheLog(t *testing.T) {
	p := Policy{Config: config.Default(known.All())}
	p.Notices = []string{"fetchKernelHeaders has no effect", "two\nlines \x1b[31m"}
	var out bytes.Buffer
	p.warn(slog.New(slog.NewJSONHandler(&out, nil)))
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], `"level":"WARN","msg":"notice about the settings","notice":"fetchKernelHeaders has no effect"`) {
		t.Errorf("got %q", lines)
	}
}
