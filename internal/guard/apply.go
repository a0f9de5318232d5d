package guard

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
)

// Apply puts a policy, which must be valid, in the place of the one before. What
// was known of cgroups is forgotten, and found out again by Run; meanwhile user
// space decides. A brake that is engaged stays so.
func (g *Guard) Apply(p Policy) error {
	kernel := bpfPolicy{
		QuietNs:        uint64(p.Brake.QuietPeriod),
		Kills:          uint32(p.Brake.KillsPerMinute),
		ContainerKills: uint32(p.Brake.ContainerKillsPerMinute),
	}
	if p.Exemptions.byCgroup() {
		kernel.ByCgroup = 1
	}
	if len(p.Exemptions.Programs) > 0 {
		kernel.MountNamespace = g.hostMounts
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	// New exemptions come before the old ones go, so that nobody is killed who is
	// exempt by both.
	programs := make(map[bpfProgramPath]bool)
	for _, text := range p.Exemptions.Programs {
		var key bpfProgramPath
		copy(key.Path[:], text)
		programs[key] = true
		if err := g.objs.ExemptPrograms.Put(key, uint32(1)); err != nil {
			return fmt.Errorf("exempting the program %s: %w", text, err)
		}
	}
	if err := forget(g.objs.Cgroups, func(bpfCgroupKey) bool { return true }); err != nil {
		return fmt.Errorf("forgetting the cgroups: %w", err)
	}
	if err := g.objs.Policies.Put(uint32(0), kernel); err != nil {
		return fmt.Errorf("storing the policy: %w", err)
	}
	g.policy, g.version = p, g.version+1
	if err := forget(g.objs.ExemptPrograms, func(key bpfProgramPath) bool { return !programs[key] }); err != nil {
		return fmt.Errorf("forgetting programs that were exempt: %w", err)
	}
	g.surveySoon()
	return nil
}

func (g *Guard) surveySoon() {
	select {
	case g.changed <- struct{}{}:
	default: // it is known already
	}
}

// forget deletes the entries of a map whose keys are as said.
func forget[K any](m *ebpf.Map, gone func(K) bool) error {
	var keys []K
	var key K
	for entries, value := m.Iterate(), make([]byte, m.ValueSize()); entries.Next(&key, &value); {
		if gone(key) {
			keys = append(keys, key)
		}
	}
	for _, key := range keys {
		if err := m.Delete(key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return err
		}
	}
	return nil
}
