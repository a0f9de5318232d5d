package hashwork

import (
	"context"
	"errors"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/procread"
	"github.com/cryptnono/cryptnono/internal/verdict"
)

// maxWaits is how many failed reads the verdicts on an owner wait for. The next ones do without the arguments.
const maxWaits = 2

// waitsExpire is the time after the last wait of an owner after which its verdicts may wait again.
const waitsExpire = 10 * time.Minute

// A waits bounds how often the verdicts on all processes of an owner wait for arguments: what holds them back
// can start a successor or execute itself before it is decided. It is safe for concurrent use.
type waits struct {
	mu     sync.Mutex
	owners map[string]waited // by Cgroup.Owner, which users cannot choose
}

// A waited is how often verdicts of an owner have waited, and when the last time, monotonic.
type waited struct {
	times int
	at    time.Duration
}

// unread returns the error for which a verdict must wait: that of verdict.Judge.Unread, as long as the owner may.
func (w *waits) unread(ctx context.Context, j *verdict.Judge, err error, at process.Event, allows bool) error {
	err = j.Unread(ctx, err, at, allows, false)
	if errors.Is(err, procread.ErrStuck) && !w.take(at.Cgroup.Owner, process.Monotonic()) {
		return nil
	}
	return err //nolint:wrapcheck // as there
}

// take counts a wait of an owner. It returns false if that had maxWaits of them.
func (w *waits) take(owner string, now time.Duration) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	maps.DeleteFunc(w.owners, func(_ string, its waited) bool { return now-its.at > waitsExpire })
	its := w.owners[owner]
	if its.times >= maxWaits {
		return false
	}
	if w.owners == nil {
		w.owners = make(map[string]waited)
	}
	w.owners[strings.Clone(owner)] = waited{its.times + 1, now}
	return true
}
