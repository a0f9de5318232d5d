package monero

import (
	"cmp"
	"slices"
	"time"

	"github.com/cryptnono/cryptnono/internal/detector/monero/rounding"
)

// bounds are the maximum numbers of tracked subjects and of tracked threads of all subjects.
type bounds struct{ subjects, threads int }

// A roster holds the tracked processes or cgroups, within bounds for all owners together. If
// they are exceeded, it evicts entries of the user or cgroup that has the most, so that no
// user can hide others from the detector. It is for one goroutine.
type roster[K comparable, V interface{ base() *target }] struct {
	bounds
	entries     map[K]V
	threadCount int // tracked threads of all entries
}

func newRoster[K comparable, V interface{ base() *target }](b bounds) roster[K, V] {
	return roster[K, V]{bounds: b, entries: make(map[K]V)}
}

// find returns the entry of a key. It adds create() if there is none.
func (r *roster[K, V]) find(k K, create func() V) V {
	v, ok := r.entries[k]
	if !ok {
		if len(r.entries) >= r.subjects {
			r.evict(nil)
		}
		v = create()
		r.entries[k] = v
	}
	return v
}

// count counts a sample for an entry of the roster.
func (r *roster[K, V]) count(v V, x rounding.Sample) rounding.Decision {
	w := v.base()
	before := w.subject.Threads()
	d := w.subject.Add(x)
	r.threadCount += w.subject.Threads() - before
	if r.threadCount > r.threads {
		r.evict(w)
	}
	return d
}

// evict removes entries, except keep, of the user or the cgroup that has the most entries and
// threads: one user may have many cgroups, and one cgroup many users. Within it, owners with
// the most go first, and the oldest entries of each. It frees an eighth of the bounds, so that
// a flood of new entries does not cause an eviction for each, but removes at most half of the
// entries of that user or cgroup.
func (r *roster[K, V]) evict(keep *target) {
	users, cgroups, owners := make(map[uint32]int), make(map[uint64]int), make(map[owner]int)
	var user uint32
	var cgroup uint64
	for _, v := range r.entries {
		w := v.base()
		weight := 1 + w.subject.Threads()
		users[w.owner.uid] += weight
		cgroups[w.owner.cgroup] += weight
		owners[w.owner] += weight
		if users[w.owner.uid] > users[user] {
			user = w.owner.uid
		}
		if cgroups[w.owner.cgroup] > cgroups[cgroup] {
			cgroup = w.owner.cgroup
		}
	}
	byCgroup := cgroups[cgroup] > users[user]
	var most []K
	for k, v := range r.entries {
		w := v.base()
		if w != keep && (byCgroup && w.owner.cgroup == cgroup || !byCgroup && w.owner.uid == user) {
			most = append(most, k)
		}
	}
	slices.SortFunc(most, func(a, b K) int {
		x, y := r.entries[a].base(), r.entries[b].base()
		return cmp.Or(cmp.Compare(owners[y.owner], owners[x.owner]), cmp.Compare(x.newest, y.newest))
	})
	for _, k := range most[:(len(most)+1)/2] {
		if len(r.entries) <= r.subjects*7/8 && r.threadCount <= r.threads*7/8 {
			break
		}
		r.remove(k, r.entries[k].base())
	}
}

func (r *roster[K, V]) remove(k K, w *target) {
	r.threadCount -= w.subject.Threads()
	delete(r.entries, k)
}

// sweep removes the entries without samples in the window.
func (r *roster[K, V]) sweep(now time.Duration) {
	for k, v := range r.entries {
		if w := v.base(); w.subject.Idle(now) {
			r.remove(k, w)
		}
	}
}
