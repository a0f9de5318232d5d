package fair

import (
	"cmp"
	"iter"
	"maps"
	"slices"
	"time"
)

// Bounds are the maximum number of entries, and the maximum weight of all of them together.
type Bounds struct{ Entries, Weight int }

// An Entry is what is tracked about a process or a cgroup.
type Entry interface {
	comparable
	Owner() Owner
	Weight() int           // more of what takes memory in it
	Newest() time.Duration // monotonic time of its newest sample
}

// A Roster holds the tracked processes or cgroups, within bounds for all owners together. If
// they are exceeded, it evicts entries of the user or cgroup that has the most, so that no
// user can hide others from the detector. It is for one goroutine.
type Roster[K comparable, V Entry] struct {
	bounds  Bounds
	entries map[K]V
	weight  int // of all entries
}

// NewRoster returns an empty roster.
func NewRoster[K comparable, V Entry](b Bounds) Roster[K, V] {
	return Roster[K, V]{bounds: b, entries: make(map[K]V)}
}

// Len returns the number of entries.
func (r *Roster[K, V]) Len() int { return len(r.entries) }

// Weight returns the weight of all entries.
func (r *Roster[K, V]) Weight() int { return r.weight }

// All returns the entries, in any order.
func (r *Roster[K, V]) All() iter.Seq2[K, V] { return maps.All(r.entries) }

// Find returns the entry of a key. It adds create() if there is none.
func (r *Roster[K, V]) Find(k K, create func() V) V {
	v, ok := r.entries[k]
	if !ok {
		if len(r.entries) >= r.bounds.Entries {
			var none V
			r.evict(none, func(V) int { return 1 }, func() bool { return len(r.entries) <= r.bounds.Entries*7/8 })
		}
		v = create()
		r.entries[k] = v
		r.weight += v.Weight()
	}
	return v
}

// Changed tells that the weight of an entry was before and is another now.
func (r *Roster[K, V]) Changed(v V, before int) {
	r.weight += v.Weight() - before
	if r.weight > r.bounds.Weight {
		r.evict(v, V.Weight, func() bool { return r.weight <= r.bounds.Weight*7/8 })
	}
}

// evict removes entries, except keep, of the user or the cgroup that has the most of what is short,
// which is size of an entry: one user may have many cgroups, and one cgroup many users. Who has few
// entries with much weight does not make room for many light ones. Within it, owners with
// the most go first, and the oldest entries of each. It goes on until enough, which is an eighth of
// the bound, so that a flood of new entries does not cause an eviction for each, but removes at most
// half of the entries of that user or cgroup.
func (r *Roster[K, V]) evict(keep V, size func(V) int, enough func() bool) {
	users, cgroups, owners := make(map[uint32]int), make(map[uint64]int), make(map[Owner]int)
	var user uint32
	var cgroup uint64
	for _, v := range r.entries {
		o, n := v.Owner(), size(v)
		users[o.UID] += n
		cgroups[o.Cgroup] += n
		owners[o] += n
		if users[o.UID] > users[user] {
			user = o.UID
		}
		if cgroups[o.Cgroup] > cgroups[cgroup] {
			cgroup = o.Cgroup
		}
	}
	byCgroup := cgroups[cgroup] > users[user]
	var most []K
	for k, v := range r.entries {
		o := v.Owner()
		if v != keep && (byCgroup && o.Cgroup == cgroup || !byCgroup && o.UID == user) {
			most = append(most, k)
		}
	}
	slices.SortFunc(most, func(a, b K) int {
		x, y := r.entries[a], r.entries[b]
		return cmp.Or(cmp.Compare(owners[y.Owner()], owners[x.Owner()]), cmp.Compare(x.Newest(), y.Newest()))
	})
	for _, k := range most[:(len(most)+1)/2] {
		if enough() {
			break
		}
		r.remove(k)
	}
}

func (r *Roster[K, V]) remove(k K) {
	r.weight -= r.entries[k].Weight()
	delete(r.entries, k)
}

// Sweep removes the idle entries.
func (r *Roster[K, V]) Sweep(idle func(V) bool) {
	for k, v := range r.entries {
		if idle(v) {
			r.remove(k)
		}
	}
}
