package verdict

import (
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/cryptnono/cryptnono/internal/process"
)

const (
	// signTime is for how long a likely sign counts.
	signTime = 10 * time.Minute
	// maxSigns bounds the signs, and maxOwnSigns those of one owner: the oldest goes.
	maxSigns, maxOwnSigns = 1024, 32
)

// signs are the likely signs of miners: findings for which a process is not killed, unless a
// second detector finds another one in the same process or container. The zero value is ready.
// It is safe for concurrent use.
type signs struct {
	mu   sync.Mutex
	seen []sign // the oldest first
}

type sign struct {
	owner    string           // as in cgroup.Cgroup
	process  process.Instance // zero in a container: its processes belong together
	detector string
	text     string // for the log
	at       time.Duration
}

// Meet remembers that a detector takes a process for a miner, though it is not certain. It
// returns what another detector has found in the same process, or in the same container, in
// the last ten minutes, "" for nothing. text describes the finding.
func (j *Judge) Meet(p process.Event, detector, text string) (other string) {
	s := sign{owner: p.Cgroup.Owner, detector: detector, text: text, at: process.Monotonic()}
	if !p.Cgroup.Container.Contained() {
		s.process = p.Instance()
	}
	return j.signs.meet(s)
}

func (s *signs) meet(now sign) (other string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	own := 0
	s.seen = slices.DeleteFunc(s.seen, func(old sign) bool {
		if old.owner != now.owner || now.at-old.at > signTime {
			return now.at-old.at > signTime
		}
		own++
		if old.process != now.process {
			return false
		}
		if old.detector != now.detector {
			other = old.text
		}
		return old.detector == now.detector // the new one is in its place
	})
	if own >= maxOwnSigns {
		i := slices.IndexFunc(s.seen, func(old sign) bool { return old.owner == now.owner })
		s.seen = slices.Delete(s.seen, i, i+1)
	} else if len(s.seen) >= maxSigns {
		s.seen = slices.Delete(s.seen, 0, 1)
	}
	s.seen = append(s.seen, now)
	return other
}

// WithSign adds to the fields of a log line what Meet returned.
func WithSign(details []slog.Attr, other string) []slog.Attr {
	if other == "" {
		return details
	}
	return append(slices.Clip(details), slog.String("with", other))
}
