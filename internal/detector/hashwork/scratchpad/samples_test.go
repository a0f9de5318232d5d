package scratchpad

import (
	"slices"
	"testing"
)

func TestTheNewestSamplesAreKept(t *testing.T) {
	s := New(AMD64)
	for i := range uint64(3*Capacity + 7) {
		s.Add(1, i*LineBytes, []uint64{i})
	}
	if s.Len() != Capacity {
		t.Errorf("%d samples", s.Len())
	}
	oldest, newest := slices.Min(s.ips), slices.Max(s.ips)
	if oldest/LineBytes != 2*Capacity+7 || newest/LineBytes != 3*Capacity+6 {
		t.Errorf("from sample %d to %d", oldest/LineBytes, newest/LineBytes)
	}
	for i, ip := range s.ips {
		if got := uint64(s.registers[i*AMD64.Registers()]); got != ip/LineBytes {
			t.Fatalf("sample %d has register %d", ip/LineBytes, got)
		}
	}
}

func TestRegistersOfASampleAreItsOwn(t *testing.T) {
	for _, a := range []Arch{AMD64, ARM64} {
		s := New(a)
		for i := range Capacity + 1 { // the last takes the place of the first
			s.Add(1, 0, slices.Repeat([]uint64{uint64(i)<<32 | 7}, 40))
		}
		s.Add(1, 0, []uint64{1, 2})
		if got, want := s.registers[a.Registers():2*a.Registers()], append([]uint32{1, 2}, make([]uint32, a.Registers()-2)...); !slices.Equal(got, want) {
			t.Errorf("registers %v, want %v", got, want)
		}
		if got := s.registers[:a.Registers()]; !slices.Equal(got, slices.Repeat([]uint32{7}, a.Registers())) {
			t.Errorf("registers of the sample before: %v", got)
		}
	}
}

func TestLinesAreTheHottest(t *testing.T) {
	s := New(AMD64)
	if got := s.Lines(); len(got) != 0 {
		t.Errorf("lines without samples: %v", got)
	}
	for i, ip := range []uint64{0x1000, 0x2010, 0x203f, 0x3000, 0x2000, 0x3001, 0x2fff, 1<<64 - 1} {
		s.Add(int32(i%2), ip, nil)
	}
	if got, want := s.Lines(), []uint64{0x2000, 0x3000, 0x1000, 0x2fc0, 1<<64 - 64}; !slices.Equal(got, want) {
		t.Errorf("lines %x, want %x", got, want)
	}
	for i := range uint64(Capacity) {
		s.Add(1, i*LineBytes, nil)
	}
	if got := len(s.Lines()); got != MaxLines {
		t.Errorf("%d lines", got)
	}
}

func TestThreadsAreFollowedInTurn(t *testing.T) {
	var f followed
	for thread := range int32(MaxThreads) {
		if !f.next(thread) {
			t.Fatal("not the first threads are followed")
		}
	}
	if f.next(100) || !f.next(0) {
		t.Fatal("another thread is followed")
	}
	// Idle threads make room, all but 0.
	for range maxIdle {
		f.next(0)
	}
	if !f.next(100) || !f.next(0) {
		t.Fatal("idle threads are followed for ever")
	}
	for thread := range int32(MaxThreads) - 2 {
		if !f.next(101 + thread) {
			t.Fatal("an idle thread is followed for ever")
		}
	}
	if f.next(1) {
		t.Fatal("an idle thread is still followed")
	}
	// So do threads that had their turn.
	for i := range maxTurn {
		f.next(int32(100 + i%(MaxThreads-1)))
		f.next(0)
	}
	for thread := range int32(MaxThreads) {
		if !f.next(200 + thread) {
			t.Fatal("a busy thread is followed for ever")
		}
	}
	// One without competitors goes on.
	for range 2 * maxTurn {
		if !f.next(200) {
			t.Fatal("a thread without competitors is not followed")
		}
	}
}
