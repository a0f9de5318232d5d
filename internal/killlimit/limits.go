package killlimit

import (
	"errors"
	"fmt"
	"time"
)

// Limits are how many kills a minute there may be. Beyond a limit kills are suppressed
// until Cooldown has passed without a kill that would be made, or Reset. 0 is no limit.
type Limits struct {
	PerMinute    int // on the machine
	PerContainer int // in each container
	Cooldown     time.Duration
}

// maxKills is far beyond any rate that a limit is for.
const maxKills = 1_000_000

// CheckKills returns an error if n is not a limit of kills a minute.
func CheckKills(n int) error {
	if n < 0 || n > maxKills {
		return fmt.Errorf("%d is not from 0, for no limit, to %d", n, maxKills)
	}
	return nil
}

// CheckCooldown returns an error if d is too short to tell one period of kills from
// another.
func CheckCooldown(d time.Duration) error {
	if d < time.Minute || d > 30*24*time.Hour {
		return fmt.Errorf("%v is not from 1m0s to 720h", d)
	}
	return nil
}

// Validate returns all that is wrong with the limits, by key.
func (l Limits) Validate() error {
	var errs []error
	check := func(key string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("killLimit.%s: %w", key, err))
		}
	}
	check("perMinute", CheckKills(l.PerMinute))
	check("perContainer", CheckKills(l.PerContainer))
	check("cooldown", CheckCooldown(l.Cooldown))
	return errors.Join(errs...)
}
