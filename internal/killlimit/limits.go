package killlimit

import "time"

// Limits are the maximum numbers in a minute of the victims of a rule, and of kills; 0 is no limit.
// Package config validates them.
type Limits struct {
	// Victims is the largest number of containers and users that a rule may hit. A rule that
	// hits more no longer kills, until it has not done so for Cooldown, or until Reset.
	Victims int
	// WarmUp is for how long after its start the victims of a rule are not forgotten.
	WarmUp time.Duration

	PerMinute    int // kills on the machine
	PerContainer int // kills in each container
	// Cooldown is also the time without an attempt to kill after which kills go on that
	// PerMinute or PerContainer suppressed.
	Cooldown time.Duration

	// Counted are the kills that Kills returns.
	Counted Counted
}

// Counted says which kills are counted by container.
type Counted uint32

// The kills that are counted: none, those in containers, or those in sessions of users too.
const (
	CountNone       = Counted(bpfCountedCOUNT_NONE)
	CountContainers = Counted(bpfCountedCOUNT_CONTAINERS)
	CountSessions   = Counted(bpfCountedCOUNT_SESSIONS)
)

// MaxVictims is the largest configurable limit of victims: with twice as many slots in the kernel,
// three of four of them have one of their own.
const MaxVictims = 32

// Max is the largest configurable limit.
const Max = 1_000_000
