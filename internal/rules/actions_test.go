package rules

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// actionsOf returns the actions of the bans in each built-in file.
func actionsOf(s Set) map[string]Action {
	actions := make(map[string]Action)
	for _, ban := range s.Bans {
		actions[strings.TrimSuffix(strings.TrimPrefix(ban.Origin.File, "builtin/"), ".yaml")] = ban.Action
	}
	return actions
}

func TestWithoutSettingsEachGroupHasTheActionOfItsFile(t *testing.T) {
	a := DefaultActions()
	for _, g := range Groups() {
		if want := g.Action; !g.OffByDefault && a[g.Name] != want {
			t.Errorf("%s: %s, want %s", g.Name, a[g.Name], want)
		}
	}
	if a["malware"] != Kill || a["pools"] != Observe || a["parts"] != "" {
		t.Errorf("got %v", a)
	}
	maps.DeleteFunc(a, func(_ string, action Action) bool { return action == Off })
	if got := actionsOf(Builtin()); !maps.Equal(got, a) {
		t.Errorf("the bans are of %v, want %v", got, a)
	}
}

func TestAGroupIsSwitchedByItsName(t *testing.T) {
	for to, want := range map[string]Action{"kill": Kill, "observe": Observe, "off": "", "false": "", "true": Observe} {
		a := DefaultActions()
		if err := a.Switch("pools", to); err != nil {
			t.Fatal(err)
		}
		got := actionsOf(a.Rules())
		if got["pools"] != want || got["malware"] != Kill {
			t.Errorf("%s: got %v", to, got)
		}
	}
}

func TestOnlyTheGroupsThatAreOnAreUsed(t *testing.T) {
	a := DefaultActions()
	a.SwitchAll(false)
	if set := a.Rules(); a.AnyOn() || len(set.Bans)+len(set.Allowed) > 0 {
		t.Errorf("all are off: any is on is %v, rules %v", a.AnyOn(), set)
	}
	if err := a.Switch("selftest", "true"); err != nil {
		t.Fatal(err)
	}
	set := a.Rules()
	if !a.AnyOn() || len(set.Bans) != 1 || len(set.Allowed) != 2 || set.Bans[0].Action != Kill {
		t.Errorf("selftest is on: any is on is %v, rules %v", a.AnyOn(), set)
	}
}

// The environment is only searched if its group is on, and then for the bans of all groups.
func TestTheGroupForTheEnvironment(t *testing.T) {
	for _, ban := range Builtin().Bans {
		if ban.Environment != "" || ban.Origin.File == "builtin/environment.yaml" {
			t.Errorf("%v is in the default rules, with the action %q in the environment", ban.Origin, ban.Environment)
		}
	}
	for _, action := range []Action{Observe, Kill} {
		a := DefaultActions()
		if err := a.Switch("environment", string(action)); err != nil {
			t.Fatal(err)
		}
		for _, ban := range a.Rules().Bans {
			want := action
			if ban.Action == Observe {
				want = Observe
			}
			if ban.Environment != want {
				t.Errorf("%s: %v has %q in the environment", action, ban.Origin, ban.Environment)
			}
		}
	}
}

// An action for matches in the environment, too, is at most that of the group.
func TestAGroupThatObservesKillsForNothing(t *testing.T) {
	a := DefaultActions()
	for _, g := range Groups() {
		if err := a.Switch(g.Name, "observe"); err != nil {
			t.Fatal(err)
		}
	}
	for _, ban := range a.Rules().Bans {
		if ban.Action != Observe || ban.Environment == Kill {
			t.Errorf("%v: action %s, environment %s", ban.Origin, ban.Action, ban.Environment)
		}
	}
}

func TestAnUnknownNameOrActionIsAnError(t *testing.T) {
	a := DefaultActions()
	err := a.Switch("pool", "kill")
	if err == nil || !strings.Contains(err.Error(), `"pool"; known names: `) || !strings.Contains(err.Error(), "miners, poolports, pools, ") {
		t.Errorf("got %v", err)
	}
	if err := a.Switch("pools", "Kill"); err == nil || err.Error() != `"Kill" is not one of kill, observe, off` {
		t.Errorf("got %v", err)
	}
	if !maps.Equal(a, DefaultActions()) {
		t.Errorf("an error changes the actions to %v", a)
	}
}

func TestTheCommentOfAGroupIsThatAtTheTopOfItsFile(t *testing.T) {
	groups := Groups()
	pools := groups[slices.IndexFunc(groups, func(g Group) bool { return g.Name == "pools" })]
	if !strings.HasPrefix(pools.Comment, "Observes. ") || !strings.Contains(pools.Comment, "\n\nWhy it only observes: ") ||
		strings.Contains(pools.Comment, "bannedCommandStrings") {
		t.Errorf("got\n%s", pools.Comment)
	}
}

// What the operator sets to observe is no likely sign, but what observes by design.
func TestBansThatObserveByDesignAreLikelySigns(t *testing.T) {
	for _, tt := range []struct{ group, to, likely string }{
		{"pools", "true", "pools"}, {"pools", "kill", ""}, {"pools", "off", ""},
		{"miners", "observe", "pools"}, {"environment", "true", "environment pools"},
	} {
		a := DefaultActions()
		if err := a.Switch(tt.group, tt.to); err != nil {
			t.Fatal(err)
		}
		likely := make(map[string]Action)
		for _, ban := range a.Rules().Bans {
			if ban.Likely {
				maps.Copy(likely, actionsOf(Set{Bans: []Ban{ban}}))
			}
		}
		if got := strings.Join(slices.Sorted(maps.Keys(likely)), " "); got != tt.likely {
			t.Errorf("%s: %s: %q", tt.group, tt.to, got)
		}
	}
}
