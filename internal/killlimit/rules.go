package killlimit

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/cilium/ebpf"

	"github.com/cryptnono/cryptnono/internal/process"
)

const (
	// maxRules is the number of rules that have a limit of their own; the others share that of
	// sharedRule. It is less than the entries of rule_kills.
	maxRules = 16_000
	// maxNamed bounds the rules that only Take names, in all detectors together.
	maxNamed = 256
	// sharedRule is the number of a rule beyond maxRules or maxNamed. Number 0 is none.
	sharedRule = 1
)

// Key returns a key for Rules and Take from what a rule consists of.
func Key(parts ...string) uint64 {
	h := fnv.New64a()
	for _, p := range parts {
		_, _ = h.Write(append([]byte(p), 0))
	}
	return h.Sum64()
}

// rules are the rules that have a limit. They are safe for concurrent use.
type rules struct {
	kills *ebpf.Map // by number

	mu      sync.Mutex
	numbers map[uint64]uint32 // by key
	sources map[string]source // by detector, and "" for those that Take names
	named   []string          // the names of these
	last    uint32            // number; none is used twice

	// The rules that are stopped, by number, and whether they were new. stops is the count in
	// rule_stops then, and logged are those whose stop is in the log.
	stopped, logged map[uint32]bool
	stops           uint64
}

// A source has the rules of a detector.
type source struct {
	keys []uint64
	name func(i int) string
}

// Rules adds the rules of a detector that kill in the kernel, and returns their numbers for decide in
// bpf/verdict.h. A rule with a key that was not there is new, and in its warm-up. name is called
// later, from any goroutine, for the log. Call replace when these rules are in force: it removes the
// detector's other ones.
func (k *Limiter) Rules(detector string, keys []uint64, name func(i int) string) (numbers []uint32, replace func() error, err error) {
	r := &k.rules
	r.mu.Lock()
	defer r.mu.Unlock()
	numbers = make([]uint32, len(keys))
	for i, key := range keys {
		if numbers[i], err = r.numberOf(key); err != nil {
			return nil, nil, err
		}
	}
	return numbers, func() error { return r.replace(detector, source{keys, name}) }, nil
}

// Rule is Rules for a detector with one rule, which is the same of each policy. It returns its number.
func (k *Limiter) Rule(detector, name string) (uint32, error) {
	numbers, replace, err := k.Rules(detector, []uint64{Key(detector, name)}, func(int) string { return name })
	if err != nil {
		return 0, err
	}
	return numbers[0], replace()
}

// numberOf returns the number of a rule, which is new if there is none. The caller holds mu.
func (r *rules) numberOf(key uint64) (uint32, error) {
	if n, there := r.numbers[key]; there {
		return n, nil
	}
	if len(r.numbers) >= maxRules {
		return sharedRule, nil
	}
	r.last = max(r.last, sharedRule) + 1
	if err := r.add(r.last); err != nil {
		return 0, err
	}
	r.numbers[key] = r.last
	return r.last, nil
}

// replace replaces the rules of a source, and removes those of none.
func (r *rules) replace(detector string, s source) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sources[detector] = s
	kept := make(map[uint64]bool, len(r.numbers))
	for _, s := range r.sources {
		for _, key := range s.keys {
			kept[key] = true
		}
	}
	var errs []error
	for key, number := range r.numbers {
		if kept[key] {
			continue
		}
		delete(r.numbers, key)
		if err := r.kills.Delete(number); err != nil {
			errs = append(errs, fmt.Errorf("removing a rule from the kill limit: %w", err))
		}
	}
	return errors.Join(errs...)
}

// add adds a rule, as a new one.
func (r *rules) add(number uint32) error {
	if err := r.kills.Put(number, bpfRuleVictims{SinceS: nowInSeconds()}); err != nil {
		return fmt.Errorf("adding a rule to the kill limit: %w", err)
	}
	return nil
}

// number returns the number of a rule. One that is new gets the name.
func (r *rules) number(key uint64, name string) (uint32, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, there := r.numbers[key]; !there {
		if len(r.named) >= maxNamed {
			return sharedRule, nil
		}
		r.named = append(r.named, name)
		r.sources[""] = source{append(r.sources[""].keys, key), func(i int) string { return r.named[i] }}
	}
	return r.numberOf(key)
}

// nameOf returns the name of a rule. The caller holds mu.
func (r *rules) nameOf(number uint32) string {
	if number == sharedRule {
		return fmt.Sprintf("rules after the first %d", maxRules)
	}
	for _, s := range r.sources {
		for i, key := range s.keys {
			if r.numbers[key] == number {
				return s.name(i)
			}
		}
	}
	return "a rule that has been removed"
}

// reset lets all rules kill again.
func (r *rules) reset() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	since := make(map[uint32]uint32)
	var number uint32
	var kills bpfRuleVictims
	entries := r.kills.Iterate()
	for entries.Next(&number, &kills) {
		since[number] = kills.SinceS
	}
	err := errOf(entries)
	for number, since := range since {
		err = errors.Join(err, r.kills.Put(number, bpfRuleVictims{SinceS: since}))
	}
	if err != nil {
		return fmt.Errorf("resetting the kill limits of rules: %w", err)
	}
	return nil
}

// Stopped returns the names of the rules that are stopped, sorted.
func (k *Limiter) Stopped() ([]string, error) {
	r := &k.rules
	r.mu.Lock()
	defer r.mu.Unlock()
	numbers, err := k.stopped()
	names := make([]string, 0, len(numbers))
	for number := range numbers {
		names = append(names, r.nameOf(number))
	}
	slices.Sort(names)
	return names, err
}

// IsStopped reports whether a rule is stopped.
func (k *Limiter) IsStopped(key uint64) bool {
	k.rules.mu.Lock()
	number, there := k.rules.numbers[key]
	k.rules.mu.Unlock()
	var kills bpfRuleVictims
	return there && k.objs.RuleKills.Lookup(number, &kills) == nil && kills.stopped(k.limits.Load())
}

// stopped returns the rules that are stopped. It reads all only if one was stopped since the last
// call. The caller holds mu.
func (k *Limiter) stopped() (map[uint32]bool, error) {
	r, l := &k.rules, k.limits.Load()
	var stops uint64
	if err := k.objs.RuleStops.Lookup(uint32(0), &stops); err != nil {
		return nil, fmt.Errorf("reading how often rules were stopped: %w", err)
	}
	now := make(map[uint32]bool)
	var kills bpfRuleVictims
	if stops == r.stops {
		for number, warm := range r.stopped {
			if err := r.kills.Lookup(number, &kills); err == nil && kills.stopped(l) {
				now[number] = warm
			}
		}
	} else {
		var number uint32
		entries := r.kills.Iterate()
		for entries.Next(&number, &kills) {
			if kills.stopped(l) {
				now[number] = kills.StoppedS-kills.SinceS < seconds(l.WarmUp)
			}
		}
		if err := errOf(entries); err != nil {
			return nil, fmt.Errorf("reading which rules are stopped: %w", err)
		}
	}
	r.stops, r.stopped = stops, now
	return now, nil
}

func (r *bpfRuleVictims) stopped(l *Limits) bool {
	return l.Victims > 0 && r.StoppedS != 0 && nowInSeconds()-r.StoppedS < seconds(l.Cooldown)
}

// logStops logs which rules were stopped and which kill again since the last call.
func (k *Limiter) logStops() error {
	r, l := &k.rules, k.limits.Load()
	r.mu.Lock()
	defer r.mu.Unlock()
	now, err := k.stopped()
	if err != nil {
		return err
	}
	for number, warm := range now {
		if _, logged := r.logged[number]; logged {
			continue
		}
		level := slog.LevelWarn
		if warm {
			level = slog.LevelError
		}
		k.log.Log(context.Background(), level, "kill limit stopped a rule",
			"rule", r.nameOf(number), "new", warm, "victims", l.Victims, "cooldown", l.Cooldown.String())
	}
	for number := range r.logged {
		if _, still := now[number]; !still {
			k.log.Info("a stopped rule kills again", "rule", r.nameOf(number))
		}
	}
	r.logged = now
	return nil
}

// nowInSeconds is now_in_seconds in bpf/killlimit.h.
func nowInSeconds() uint32 { return uint32(process.Monotonic()/time.Second) + 1 }

func seconds(d time.Duration) uint32 { return uint32(d / time.Second) }
