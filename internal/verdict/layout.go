package verdict

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/cilium/ebpf/btf"
)

// CounterNames returns the names of the first n counters of a kernel program. types are those of
// its object: enum own_counter has the counters of the detector. Other versions of the program may
// have them in another order.
func CounterNames(types *btf.Spec, n int) ([]string, error) {
	common, err := loadBpf()
	if err != nil {
		return nil, fmt.Errorf("reading the object of the common types: %w", err)
	}
	names := make([]string, n)
	for _, of := range []struct {
		types *btf.Spec
		enum  string
	}{{common.Types, "outcome"}, {common.Types, "counter"}, {types, "own_counter"}} { // a later one names the first after the last of the one before
		var e *btf.Enum
		if err := of.types.TypeByName(of.enum, &e); errors.Is(err, btf.ErrNotFound) && of.types == types {
			continue // it has none of its own
		} else if err != nil {
			return nil, fmt.Errorf("looking for the names of the counters: %w", err)
		}
		for _, v := range e.Values {
			if v.Value < uint64(n) {
				names[v.Value] = v.Name
			}
		}
	}
	return names, nil
}

// EventFormat identifies the format of the events of a kernel program: struct event, enum outcome, and
// struct ancestor if the program has it, since the text of an event is then of these.
func EventFormat(types *btf.Spec) (string, error) {
	common, err := loadBpf()
	if err != nil {
		return "", fmt.Errorf("reading the object of the common types: %w", err)
	}
	var event *btf.Struct
	var outcome *btf.Enum
	if err := errors.Join(types.TypeByName("event", &event), common.Types.TypeByName("outcome", &outcome)); err != nil {
		return "", fmt.Errorf("looking for the format of the events: %w", err)
	}
	all := []btf.Type{event, outcome}
	var ancestor *btf.Struct
	if err := types.TypeByName("ancestor", &ancestor); err == nil {
		all = append(all, ancestor)
	} else if !errors.Is(err, btf.ErrNotFound) {
		return "", fmt.Errorf("looking for the format of the events: %w", err)
	}
	b, err := btf.NewBuilder(all, nil)
	if err != nil {
		return "", fmt.Errorf("describing the format of the events: %w", err)
	}
	text, err := b.Marshal(nil, nil)
	if err != nil {
		return "", fmt.Errorf("describing the format of the events: %w", err)
	}
	hash := sha256.Sum256(text)
	return hex.EncodeToString(hash[:8]), nil
}

// ByName returns the counts by the names of the counters.
func (c Counters) ByName(names []string) map[string]uint64 {
	counts := make(map[string]uint64, len(names))
	for i, name := range names {
		if name != "" && i < len(c) {
			counts[name] = c[i]
		}
	}
	return counts
}

// Add adds counts by the names of the counters. Those that the program has no more are left out.
func (c Counters) Add(counts map[string]uint64, names []string) {
	for i, name := range names {
		if i < len(c) {
			c[i] += counts[name]
		}
	}
}
