package execwhacker

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/kernelbtf"
)

// A ruleSet has the parts of the BPF object that are loaded for each set of rules: the tables
// and the programs that use them.
type ruleSet struct {
	tableMaps
	ApplyRules    *ebpf.Program `ebpf:"apply_rules"`
	RememberAgent *ebpf.Program `ebpf:"remember_agent"`
	// Outdated says that other rules are in force.
	Outdated *ebpf.Variable `ebpf:"outdated"`
}

// loadRules loads the rules of a policy into the kernel, without putting them in force. shared
// are the maps that all rule sets share, and limited the numbers of the bans for the kill limit.
func loadRules(p detector.Policy, limited []uint32, generation uint32, seed uint64, shared map[string]*ebpf.Map) (*ruleSet, error) {
	spec, err := loadBpf()
	if err != nil {
		return nil, fmt.Errorf("reading the execwhacker object: %w", err)
	}
	t := newTables(p.Matcher)
	if err := t.size(spec); err != nil {
		return nil, err
	}
	for name, value := range map[string]any{bpfVarGeneration: generation, bpfVarLogEnv: len(p.LogEnv) > 0, bpfVarLogExecs: p.LogExecs, bpfVarFingerprintSeed: seed} {
		if err := spec.Variables[name].Set(value); err != nil {
			return nil, fmt.Errorf("setting %s: %w", name, err)
		}
	}
	for name, m := range shared {
		spec.Maps[name].MaxEntries = m.MaxEntries()
	}
	o := new(ruleSet)
	options := &ebpf.CollectionOptions{Cache: kernelbtf.Cache, MapReplacements: shared}
	deferring, err := selectDeferral(spec)
	if err != nil {
		return nil, err
	}
	plain := spec.Programs[bpfProgApplyRules]
	if deferring != nil {
		spec.Programs[bpfProgApplyRules] = deferring
	}
	err = spec.LoadAndAssign(o, options)
	if err != nil && deferring != nil {
		spec.Programs[bpfProgApplyRules] = plain
		err = spec.LoadAndAssign(o, options)
	}
	if err != nil {
		return nil, fmt.Errorf("loading the execwhacker program: %w", err)
	}
	err = t.fill(&o.tableMaps, limited)
	if err == nil {
		// It runs in this process and stores its program file: see agent_inode.
		_, err = o.RememberAgent.Run(&ebpf.RunOptions{})
	}
	if err != nil {
		return nil, errors.Join(err, o.close())
	}
	return o, nil
}

func (o *ruleSet) close() error {
	return errors.Join(o.tableMaps.close(), o.ApplyRules.Close(), o.RememberAgent.Close())
}
