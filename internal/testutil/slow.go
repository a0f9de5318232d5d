package testutil

import (
	"os"
	"strconv"
	"testing"
	"time"
)

// slowdown is the factor by which this machine is slower than an ordinary one, from the
// environment variable CRYPTNONO_SLOWDOWN, which is set in emulated machines; 1 by default.
func slowdown() int {
	n, err := strconv.Atoi(os.Getenv("CRYPTNONO_SLOWDOWN"))
	if err != nil || n < 1 {
		return 1
	}
	return n
}

// Patience returns the time limit on this machine for d on an ordinary one.
func Patience(d time.Duration) time.Duration { return d * time.Duration(slowdown()) }

// Thorough returns n, or a twentieth of it under -short, for the number of iterations of
// simulations and randomised tests.
func Thorough(n int) int {
	if testing.Short() {
		return max(n/20, 1)
	}
	return n
}

// Rounds returns the number of iterations on this machine for n on an ordinary one, at
// least 1. Under -short it is not more than a twentieth of n.
func Rounds(t testing.TB, n int) int {
	t.Helper()
	rounds := max(min(n/slowdown(), Thorough(n)), 1)
	if rounds < n {
		t.Logf("%d rounds instead of %d: CRYPTNONO_SLOWDOWN or -short is set", rounds, n)
	}
	return rounds
}
