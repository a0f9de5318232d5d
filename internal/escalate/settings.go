package escalate

import (
	"time"

	"github.com/cryptnono/cryptnono/internal/killlimit"
	"github.com/cryptnono/cryptnono/internal/rules"
)

// Settings say when which step is taken. Package config validates them. The zero value takes none.
type Settings struct {
	// Parent and Container are what is done: rules.Off, rules.Observe or rules.Kill.
	Parent, Container rules.Action
	// ParentKills and ContainerKills are the numbers of kills Within which the step is taken.
	ParentKills, ContainerKills int
	Within                      time.Duration
	// Sessions is whether sessions of users count as containers, see targetOf.
	Sessions bool
}

// MaxKills is the largest configurable number of kills.
const MaxKills = 100

// MinParentKills is the least for the parent: less is not again and again.
const MinParentKills = again

// Default returns the settings of an agent without a settings file.
func Default() Settings {
	return Settings{Parent: rules.Off, Container: rules.Off, ParentKills: 5, ContainerKills: 20, Within: 10 * time.Minute}
}

// Counted returns which kills have to be counted.
func (s Settings) Counted() killlimit.Counted {
	switch {
	case !s.takes(s.Parent) && !s.takes(s.Container):
		return killlimit.CountNone
	case s.Sessions:
		return killlimit.CountSessions
	}
	return killlimit.CountContainers
}

func (s Settings) takes(a rules.Action) bool { return a == rules.Kill || a == rules.Observe }

// most returns the largest number of kills that matters.
func (s Settings) most() int { return max(s.ParentKills, s.ContainerKills) }
