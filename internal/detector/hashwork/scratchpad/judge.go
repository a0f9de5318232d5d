package scratchpad

// counts are numbers of samples, for the shares of a Finding.
type counts struct {
	masked, aes, multiplies, argon2 int
	walks, alone, unmasked          int
	windows                         map[uint32]int // walks by the size of the window
}

// Judge returns the evidence in the samples. code has the CodeBytes of code from CodeBefore
// before each line that Lines returns, by the address of the line. Missing code, and what is
// missing at its end, has no features.
//
// The order of the samples does not matter.
func (s *Samples) Judge(code map[uint64][]byte) Finding {
	f := Finding{Arch: s.arch, Samples: s.Len()}
	if f.Samples == 0 {
		return f
	}
	c := counts{windows: make(map[uint32]int)}
	memory := make([]uint32, 0, 2*Capacity)
	lines := s.lines()
	hot := make(map[uint64]bool, len(lines))
	for _, l := range lines {
		hot[l.at] = true
	}
	for _, l := range lines {
		has := newFeatures(s.arch, code[l.at])
		if has.fewAES() && !anyHot(hot, l.at, has.aesLines) {
			has.aes = 0
		}
		c.add(has, len(l.places))
		if has.window == 0 && !has.loop() {
			continue
		}
		for group := range runs(l.places, func(a, b place) bool { return a.thread == b.thread }) {
			if len(group) >= minWalk {
				c.addWalk(has, s.registersOf(group, memory))
			}
		}
	}
	share := func(n int) float64 { return float64(n) / float64(f.Samples) }
	f.Masked, f.AES, f.Multiplies, f.Argon2 = share(c.masked), share(c.aes), share(c.multiplies), share(c.argon2)
	f.Walks, f.Alone, f.EvenWalks = share(c.walks), share(c.alone), share(c.unmasked)
	for size, n := range c.windows {
		if best := c.windows[f.Window]; n > best || n == best && size > f.Window {
			f.Window = size
		}
	}
	return f
}

// anyHot reports whether any of these lines of the code of a line is hot. AES rounds that do
// not run are those of another function that happens to be next to the loop.
func anyHot(hot map[uint64]bool, line uint64, lines uint8) bool {
	for i := range uint64(CodeBytes / LineBytes) {
		if lines>>i&1 == 1 && hot[line-CodeBefore+i*LineBytes] {
			return true
		}
	}
	return false
}

// add counts n samples in code with these features.
func (c *counts) add(has features, n int) {
	if has.multiply {
		c.multiplies += n
	}
	if has.argon2 {
		c.argon2 += n
	}
	if has.window == 0 {
		return
	}
	c.masked += n
	if has.fewAES() {
		c.aes += n
	}
}

// addWalk counts the samples of a thread in a line of code with these features, by the
// register in which most of them walk. A mask without a walk of its size may be that of other code,
// or no instruction at all, so it does not rule out a walk without a mask.
func (c *counts) addWalk(has features, registers func(yield func(circle) bool)) {
	if has.window != 0 {
		most, mostAlone := 0, 0
		for values := range registers {
			n, alone := values.walk(has.window)
			most = max(most, n)
			if alone {
				mostAlone = max(mostAlone, n)
			}
		}
		if most > 0 {
			c.walks += most
			c.alone += mostAlone
			c.windows[has.window] += most
			return
		}
	}
	if !has.loop() {
		return
	}
	most := 0
	for values := range registers {
		most = max(most, values.walkBySteps())
	}
	c.unmasked += most
}

// registersOf yields the values of each register in a group, in the memory given, until the
// next.
func (s *Samples) registersOf(group []place, memory []uint32) func(yield func(circle) bool) {
	return func(yield func(circle) bool) {
		per := s.arch.Registers()
		for r := range per {
			values := memory[:0]
			for _, p := range group {
				values = append(values, s.registers[int(p.sample)*per+r])
			}
			if !yield(newCircle(values)) {
				return
			}
		}
	}
}
