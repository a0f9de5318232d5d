package killlimit

import "time"

// Limits are the maximum numbers of kills in a minute; 0 is no limit. Once a limit is reached,
// kills are suppressed until none was attempted for Cooldown, or until Reset. Package config
// validates them.
type Limits struct {
	PerMinute    int // on the machine
	PerContainer int // in each container
	Cooldown     time.Duration
}

// Max is the largest configurable limit.
const Max = 1_000_000
