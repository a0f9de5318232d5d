package rules

import (
	"fmt"
	"strings"
)

// Actions has the action of each group of built-in rules, Kill, Observe or Off, by the name
// of the group.
type Actions map[string]Action

// Off is the action of a group whose rules, also the allow patterns, do not apply.
const Off Action = "off"

// DefaultActions returns the actions without settings.
func DefaultActions() Actions {
	a := make(Actions)
	a.SwitchAll(true)
	return a
}

// SwitchAll gives each group its default action, or turns all off.
func (a Actions) SwitchAll(on bool) {
	for _, g := range Groups() {
		a[g.Name] = Off
		if on {
			a[g.Name] = g.Default()
		}
	}
}

// Switch sets the action of a group: "kill", "observe", "off" or "false", or "true" for that
// in its file.
func (a Actions) Switch(name, to string) error {
	var names []string
	for _, g := range Groups() {
		names = append(names, g.Name)
		if g.Name != name {
			continue
		}
		switch action := Action(to); action {
		case Kill, Observe, Off:
			a[name] = action
		case "false":
			a[name] = Off
		case "true":
			a[name] = g.Action
		default:
			return fmt.Errorf("%q is not one of %s, %s, %s", to, Kill, Observe, Off)
		}
		return nil
	}
	return fmt.Errorf("no built-in rules have the name %q; known names: %s", name, strings.Join(names, ", "))
}

// AnyOn reports whether any group is not off.
func (a Actions) AnyOn() bool {
	for _, action := range a {
		if action != Off {
			return true
		}
	}
	return false
}

// environmentGroup is the group of rules for the environment of an exec. If it is on, the bans of
// the others are searched there too.
const environmentGroup = "environment"

// Rules returns the rules of the groups that are not off.
func (a Actions) Rules() Set {
	var set Set
	environment := a[environmentGroup]
	for _, g := range Groups() {
		action, ok := a[g.Name]
		if !ok || action == Off {
			continue
		}
		for _, ban := range g.rules.Bans {
			ban.Action, ban.Likely = action, action == Observe && g.Action == Observe
			switch {
			case environment == Observe, environment == Kill && action == Observe:
				ban.Environment = Observe
			case environment == Kill:
				ban.Environment = Kill
			}
			set.Bans = append(set.Bans, ban)
		}
		set.Allowed = append(set.Allowed, g.rules.Allowed...)
	}
	return set
}
