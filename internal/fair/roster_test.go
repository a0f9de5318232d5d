package fair

import (
	"testing"
	"time"
)

type entry struct {
	of     Owner
	weight int
}

func (e *entry) Owner() Owner          { return e.of }
func (e *entry) Weight() int           { return e.weight }
func (e *entry) Newest() time.Duration { return 0 }

// left returns the number of entries of a user.
func left(r *Roster[int, *entry], uid uint32) (n int) {
	for _, e := range r.All() {
		if e.of.UID == uid {
			n++
		}
	}
	return n
}

func TestWhoHasTheMostEntriesMakesRoomForEntries(t *testing.T) {
	r := NewRoster[int, *entry](Bounds{Entries: 64, Weight: 10_000})
	add := func(k int, of Owner, weight int) { r.Find(k, func() *entry { return &entry{of, weight} }) }
	for i := range 20 {
		add(i, Owner{1000, uint64(10 + i)}, 450) // 9,000 of the weight: it is not exceeded
	}
	for i := range 1000 {
		add(100+i, Owner{1001, 7}, 1)
	}
	if n := left(&r, 1000); n != 20 || r.Len() > 64 {
		t.Errorf("%d of 20 are left, in all %d", n, r.Len())
	}
}

func TestWhoHasTheMostWeightMakesRoomForWeight(t *testing.T) {
	r := NewRoster[int, *entry](Bounds{Entries: 1000, Weight: 100})
	for i := range 400 {
		r.Find(i, func() *entry { return &entry{of: Owner{1000, 7}} })
	}
	for i := range 10 {
		e := r.Find(1000+i, func() *entry { return &entry{of: Owner{1001, 8}} })
		e.weight = 20
		r.Changed(e, 0)
	}
	if n := left(&r, 1000); n != 400 || r.Weight() > 100 {
		t.Errorf("%d of 400 are left, with a weight of %d", n, r.Weight())
	}
}
