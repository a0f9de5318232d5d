package rounding

// fresh is for how many samples it is of interest that a thread has shown all
// four modes. Independent draws in the shares of RandomX show them again within
// that number in all but 7 of 10,000 cases.
const fresh = 32

// A thread is what a Subject knows of one thread: the counts of a window, and
// where its next pairs begin.
type thread struct {
	window
	last   Sample // begins the next near pair
	anchor Sample // begins the next far pair
	shown  [4]bool
	since  int // samples since all four modes had been shown
}

func newThread(first Sample) *thread {
	th := &thread{last: first, anchor: first, since: fresh}
	th.shown[first.Mode] = true
	return th
}

// follow counts the pairs that x ends: in the thread's own counts and, if the
// thread has lately shown all four modes, in those of all threads.
func (th *thread) follow(x Sample, own, all *counts) {
	into := []*counts{own, all}
	if th.since >= fresh {
		into = into[:1]
	}
	th.since++
	th.shown[x.Mode] = true
	if th.shown == [4]bool{true, true, true, true} {
		th.shown, th.since = [4]bool{}, 0
	}

	near := x.CPU-th.last.CPU < pairSpacing && x.At-th.last.At <= maxPairGap
	far := x.CPU-th.anchor.CPU >= pairSpacing && x.At-th.anchor.At <= maxPairGap
	for _, c := range into {
		if near {
			c.near[th.last.Mode][x.Mode]++
		}
		if far {
			c.far[th.anchor.Mode][x.Mode]++
		}
	}
	th.last = x
	if far || x.At-th.anchor.At > maxPairGap {
		th.anchor = x
	}
}
