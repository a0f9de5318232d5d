package monero

import (
	"cmp"
	"slices"
	"time"

	"github.com/cryptnono/cryptnono/internal/detector/monero/rounding"
)

// bounds are how many subjects are watched at once, and how many threads of all of
// them together are told apart.
type bounds struct{ subjects, threads int }

// A roster is what is watched, within bounds that all owners share. When they are
// reached, the user or cgroup that takes the most gives way, so that nobody can blind the
// detector to others. It is for one goroutine.
type roster[K comparable, V interface{ entry() *watched }] struct {
	bounds
	entries map[K]V
	told    int // threads told apart, of all entries
}

func newRoster[K comparable, V interface{ entry() *watched }](b bounds) roster[K, V] {
	return roster[K, V]{bounds: b, entries: make(map[K]V)}
}

// find returns the entry of a key, a new one if there is none.
func (r *roster[K, V]) find(k K, fresh func() V) V {
	v, ok := r.entries[k]
	if !ok {
		if len(r.entries) >= r.subjects {
			r.makeRoom(nil)
		}
		v = fresh()
		r.entries[k] = v
	}
	return v
}

// count counts a sample for an entry of the roster.
func (r *roster[K, V]) count(v V, x rounding.Sample) rounding.Decision {
	w := v.entry()
	before := w.subject.Threads()
	d := w.subject.Add(x)
	r.told += w.subject.Threads() - before
	if r.told > r.threads {
		r.makeRoom(w)
	}
	return d
}

// makeRoom removes entries, but not keep, of the user or the cgroup that has the most: one
// user may have many cgroups, and one cgroup many users. First go those of the owner
// that has the most among them, of these first those seen longest ago. An entry counts
// with its threads. An eighth of what there may be is removed, since a flood of newcomers
// must not cost a search for each, but never more than half of what is there of that user
// or cgroup.
func (r *roster[K, V]) makeRoom(keep *watched) {
	users, cgroups, owners := make(map[uint32]int), make(map[uint64]int), make(map[owner]int)
	var user uint32
	var cgroup uint64
	for _, v := range r.entries {
		w := v.entry()
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
		w := v.entry()
		if w != keep && (byCgroup && w.owner.cgroup == cgroup || !byCgroup && w.owner.uid == user) {
			most = append(most, k)
		}
	}
	slices.SortFunc(most, func(a, b K) int {
		x, y := r.entries[a].entry(), r.entries[b].entry()
		return cmp.Or(cmp.Compare(owners[y.owner], owners[x.owner]), cmp.Compare(x.seen, y.seen))
	})
	for _, k := range most[:(len(most)+1)/2] {
		if len(r.entries) <= r.subjects*7/8 && r.told <= r.threads*7/8 {
			break
		}
		r.remove(k, r.entries[k].entry())
	}
}

func (r *roster[K, V]) remove(k K, w *watched) {
	r.told -= w.subject.Threads()
	delete(r.entries, k)
}

// sweep forgets the entries of which all samples have left the window.
func (r *roster[K, V]) sweep(now time.Duration) {
	for k, v := range r.entries {
		if w := v.entry(); w.subject.Idle(now) {
			r.remove(k, w)
		}
	}
}
