package hashwork

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"

	"github.com/cryptnono/cryptnono/internal/bpflist"
	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/detector/hashwork/learned"
	"github.com/cryptnono/cryptnono/internal/kernelbtf"
	"github.com/cryptnono/cryptnono/internal/pin"
	"github.com/cryptnono/cryptnono/internal/printable"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/rules"
	"github.com/cryptnono/cryptnono/internal/verdict"
)

// A learner kills programs at their start whose file the rule program has found before, in any
// container: it stores the file beneath overlayfs in the kernel (learned.bpf.c).
type learner struct {
	detector.Env
	socket   string // of learned.Server
	kept     *verdict.Kept
	entry    *pin.Entry    // check_exec, whose slot has the program of the policy
	began    time.Duration // monotonic; earlier events are of an agent before
	shared   learnedShared
	files    *learnedFiles
	events   *ringbuf.Reader
	iterator *bpflist.Iterator
	tally    verdict.Tally // of verdicts that the kernel left open
	waits    waits         // of the same

	identifying sync.Mutex // one list of iterator at a time

	mu       sync.Mutex // one apply at a time
	policy   *policy
	attached *ebpf.Program // in force; nil for none
}

// learnedShared is what the programs of all policies use.
type learnedShared struct {
	Events          *ebpf.Map      `ebpf:"learned_events"`
	Files           *ebpf.Map      `ebpf:"learned_files"`
	Count           *ebpf.Map      `ebpf:"learned_count"`
	Counters        *ebpf.Map      `ebpf:"counters"`
	IdentifyProgram *ebpf.Program  `ebpf:"identify_program"`
	WantedProcess   *ebpf.Variable `ebpf:"wanted_process"`
}

// newLearner loads all but the program of a policy.
func newLearner(e detector.Env) (_ *learner, err error) {
	l := &learner{Env: e, socket: learned.Socket, began: process.Monotonic()}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.close())
		}
	}()
	spec, err := loadLearned()
	if err != nil {
		return nil, fmt.Errorf("reading the programs for learned files: %w", err)
	}
	if err := l.keep(spec); err != nil {
		return nil, err
	}
	if l.iterator, err = bpflist.Attach(l.shared.IdentifyProgram); err != nil {
		return nil, err
	}
	if l.events, err = ringbuf.NewReader(l.shared.Events); err != nil {
		return nil, fmt.Errorf("opening the ring buffer of learned files: %w", err)
	}
	return l, l.kept.LogMeanwhile(l.Log, l.shared.Counters)
}

// selftest is the rule file of the agent whose allow patterns allow only echo and python.
const selftest = "builtin/selftest.yaml"

// allows reports whether allow patterns may spare a program.
func (p *policy) allows() bool {
	return slices.ContainsFunc(p.Matcher.Set.Allowed, func(a rules.Pattern) bool { return a.Origin.File != selftest })
}

// outcome returns what an exec of a learned file comes to in the kernel. An allow pattern matches
// a whole command line, so it may allow this start although the last one was killed.
func (p *policy) outcome() verdict.Outcome {
	switch {
	case p.allows():
		return verdict.OutcomeUndecided
	case !p.kills():
		return verdict.OutcomeObserved
	}
	return verdict.OutcomeBanned
}

// expire returns the time after which a learned file is forgotten, 0 if none is to be learned.
func (p *policy) expire() time.Duration {
	if !p.settings.Program.Enabled || !p.settings.Learned.Enabled {
		return 0
	}
	return p.settings.Learned.ExpireAfter
}

// apply replaces the policy, in one step: an exec is checked by the old program or by the new one.
func (l *learner) apply(p *policy) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var next *ebpf.Program
	if p.expire() != 0 {
		var err error
		if next, err = l.load(p); err != nil {
			return err
		}
	}
	if err := l.kept.Fill(learnedProgCheckExec, l.entry, next); err != nil {
		return errors.Join(err, next.Close())
	}
	old := l.attached
	l.attached, l.policy = next, p
	return errors.Join(old.Close(), l.files.apply(p.expire()))
}

func (l *learner) load(p *policy) (*ebpf.Program, error) {
	spec, err := loadLearned()
	if err != nil {
		return nil, fmt.Errorf("reading the programs for learned files: %w", err)
	}
	limited, err := l.Judge.Limit.Rule(Name, Name+" "+learnedRule)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(
		spec.Variables[learnedVarFound].Set(uint32(p.outcome())),
		spec.Variables[learnedVarLimitRule].Set(limited),
	); err != nil {
		return nil, fmt.Errorf("setting the action: %w", err)
	}
	all := l.Maps() // of the exemptions and the kill limit in force
	maps.Copy(all, map[string]*ebpf.Map{
		learnedMapLearnedEvents: l.shared.Events, learnedMapLearnedFiles: l.shared.Files,
		learnedMapLearnedCount: l.shared.Count, learnedMapCounters: l.shared.Counters,
	})
	var next struct {
		CheckLearned *ebpf.Program `ebpf:"check_learned"`
	}
	if err := spec.LoadAndAssign(&next, &ebpf.CollectionOptions{Cache: kernelbtf.Cache, MapReplacements: all}); err != nil {
		return nil, fmt.Errorf("loading the program for execs of learned files: %w", err)
	}
	return next.CheckLearned, nil
}

func (l *learner) current() *policy {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.policy
}

// candidate returns the program file of a process that is about to be killed, if it is the file
// that was found; otherwise nil: what was found is a library, the memory, or cannot be identified.
// Once it is killed, it cannot be asked any more.
func (l *learner) candidate(j job, f finding, p process.Event) *learnedFile {
	if f.file == nil || f.likely != 0 || !j.policy.kills() || j.policy.expire() == 0 {
		return nil
	}
	program, err := l.identify(p.PID)
	if err != nil || !program.isThat(f.file.id) {
		l.Log.Debug("program file not learned", "detector", Name, "pid", p.PID, "err", err)
		return nil
	}
	id := program.content.id
	return &learnedFile{content: program.content, owner: j.by, about: learned.File{
		Path:  printable.Text([]byte(f.file.path), maxPath),
		Inode: id.Inode, Device: id.Device, Generation: id.Generation,
		PID: p.PID, UID: p.UID, Cgroup: p.Cgroup.Path, Learned: time.Now().Round(time.Millisecond),
	}}
}

// learn stores a candidate. It was killed, so it was neither exempt nor allowed.
func (l *learner) learn(f *learnedFile) {
	if err := l.files.add(f); err != nil {
		l.Log.Error("program file not learned", "detector", Name, "err", err)
	}
}

func (l *learner) close() error {
	errs := []error{l.attached.Close(), l.iterator.Close()}
	if l.events != nil {
		errs = append(errs, l.events.Close())
	}
	if l.files != nil {
		errs = append(errs, l.files.about.Close())
	}
	for _, c := range []io.Closer{l.entry, l.shared.Events, l.shared.Files, l.shared.Count, l.shared.Counters, l.shared.IdentifyProgram} {
		errs = append(errs, c.Close())
	}
	return errors.Join(append(errs, l.kept.Release())...)
}
