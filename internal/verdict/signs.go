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
	maxSigns, maxOwnSigns = 1024, 64
)

// A Sign is a finding that makes a miner likely and not certain. It makes one certain together
// with a sign of the other half: what computes, and what it has to do with a pool. Two of one half
// can have the same cause. The zero value is no sign.
type Sign struct {
	Kind SignKind
	Text string // for the log, "DETECTOR: FINDING"
}

// A SignKind says what a sign proves.
type SignKind uint8

// The kinds.
const (
	_           SignKind = iota
	Computes             // it computes as a miner does
	MayCompute           // it computes as a miner does, and other programs too
	TLSToPool            // it speaks TLS to a pool, not as browsers do: no proof together with MayCompute
	NamesPool            // it names a pool, or was refused a connection
	signsOfPool = TLSToPool
)

// meets reports whether two signs prove a miner together.
func (k SignKind) meets(other SignKind) bool {
	computes, pool := min(k, other), max(k, other)
	return computes != 0 && computes < signsOfPool && pool >= signsOfPool && (computes != MayCompute || pool != TLSToPool)
}

// signs are the likely signs of the last ten minutes. The zero value is ready. It is safe for
// concurrent use.
type signs struct {
	mu   sync.Mutex
	seen []seenSign // the oldest first, one of each kind at a place
}

type seenSign struct {
	Sign
	place
	at time.Duration
}

// A place is where signs meet: the innermost container, or outside of containers a process. Nobody
// but root chooses it: below a cgroup that belongs to a user, no name is a container.
type place struct {
	owner   string           // as in cgroup.Cgroup: the outermost container
	nested  string           // the container in it, "" for none
	process process.Instance // zero in a container
}

func placeOf(p process.Event) place {
	if c := p.Cgroup.Container; c.Contained() {
		return place{owner: p.Cgroup.Owner, nested: c.Nested}
	}
	return place{owner: p.Cgroup.Owner, process: p.Instance()}
}

// Meet remembers a likely sign of a process. It returns the text of another one that proves a miner
// together with it, "" for none: of the last ten minutes, in the same innermost container, or
// outside of containers in the same process. The caller must leave out what the operator wants
// only observed, and what is exempt or allowed.
func (j *Judge) Meet(p process.Event, s Sign) (other string) {
	return j.signs.meet(seenSign{s, placeOf(p), process.Monotonic()})
}

func (s *signs) meet(now seenSign) (other string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	own := 0
	s.seen = slices.DeleteFunc(s.seen, func(old seenSign) bool {
		if now.at-old.at > signTime || old.place == now.place && old.Kind == now.Kind {
			return true // the new one is in its place
		}
		if old.owner == now.owner {
			own++
		}
		if old.place == now.place && old.Kind.meets(now.Kind) {
			other = old.Text
		}
		return false
	})
	if own >= maxOwnSigns {
		i := slices.IndexFunc(s.seen, func(old seenSign) bool { return old.owner == now.owner })
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
