package killlimit

import "time"

// Limits are how many kills a minute there may be. Beyond a limit kills are suppressed
// until Cooldown has passed without a kill that would be made, or Reset. 0 is no limit.
// Package config checks them.
type Limits struct {
	PerMinute    int // on the machine
	PerContainer int // in each container
	Cooldown     time.Duration
}

// Max is the largest limit, far beyond any rate that one is for.
const Max = 1_000_000
