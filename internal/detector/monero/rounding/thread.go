package rounding

// recentSamples is for how many samples a thread counts as having recently shown all four
// modes. Independent draws with the shares of RandomX show them again within that number in
// all but 7 of 10,000 cases.
const recentSamples = 32

// A thread has the counts of a window for one thread, and the samples that begin its next
// pairs.
type thread struct {
	window
	last   Sample  // begins the next near pair
	anchor Sample  // begins the next far pair
	shown  [4]bool // modes since all four had been shown
	since  int     // samples since then
}

func newThread(first Sample) *thread {
	th := &thread{last: first, anchor: first, since: recentSamples}
	th.shown[first.Mode] = true
	return th
}

// addPairs counts the pairs that end with x in the counts of the thread and, if the thread
// has recently shown all four modes, in those of all threads.
func (th *thread) addPairs(x Sample, own, all *counts) {
	into := []*counts{own, all}
	if th.since >= recentSamples {
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
