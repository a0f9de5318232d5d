package main

import (
	"runtime"
	"slices"

	"github.com/cryptnono/cryptnono/internal/detectors"
)

// This file has the lists of kernels and of tests.

// A kernel is a line of kernels. Its newest available release is booted.
type kernel struct {
	Name   string // of the line: a version, or newest
	Suite  string // of Debian
	Arch   string
	Prefix string // of the releases that belong to it
	// Reads is the variant of the monero detector on this kernel, as doctor names it.
	Reads string
	// Seldom is true if it is run only with -full, or if -only selects it.
	Seldom bool
}

// kernels returns the supported lines that Debian has.
func kernels() []kernel {
	const (
		state   = "MXCSR in fpu.state, registers from the stack"
		fpstate = "MXCSR in fpu.fpstate, registers by bpf_task_pt_regs"
		behind  = "MXCSR in fpu.fpstate, behind the task, registers by bpf_task_pt_regs"
		stack   = "FPCR at sched_switch, registers from the stack"
		fpcr    = "FPCR at sched_switch, registers by bpf_task_pt_regs"
	)
	return []kernel{
		{"5.10", "bullseye", "amd64", "5.10.", state, false},
		{"6.1", "bookworm-security", "amd64", "6.1.", fpstate, false},
		{"6.12", "bookworm-security", "amd64", "6.12.", fpstate, false},
		{"6.18", "trixie-backports", "amd64", "6.18.", behind, false},
		{"newest", "trixie-backports", "amd64", "", behind, false},
		{"5.10", "bullseye", "arm64", "5.10.", stack, true},
		{"6.1", "bookworm-security", "arm64", "6.1.", fpcr, false},
		{"6.12", "bookworm-security", "arm64", "6.12.", fpcr, true},
		{"newest", "trixie-backports", "arm64", "", fpcr, false},
	}
}

// least is the minimum number of kernels of an architecture. With fewer the run fails, even if all
// tests pass.
func least() map[string]int { return map[string]int{"amd64": 3, "arm64": 2} }

// slowdown is the factor by which time limits of tests are longer in a guest.
const slowdown = 5

// A column of the table is a feature that works on a kernel or does not.
type column string

// The columns, in their order.
const (
	execs     column = "exec verdict"
	scans     column = "scan, kill by pidfd"
	guards    column = "exemptions, kill limit"
	traffic   column = "connections"
	computing column = "what computes"
	modes     column = "rounding modes"
	honest    column = "honest ones live"
	jit       column = "RandomX"
	sentences column = "says what is missing"
)

func columns() []column {
	return []column{execs, scans, guards, traffic, computing, modes, honest, jit, sentences}
}

// tricks are the columns of the second table: the evasion attempts by their names in the acceptance
// tests.
func tricks() []string {
	return []string{"argv wiped", "forked on", "executed on", "padding", "argv[0] beyond a chunk", "hanging pages"}
}

// where selects the kernels on which tests are run.
type where int

const (
	everywhere where = iota
	once             // on longKernel, since it takes long and kernels differ little in it
	foreign          // the same, of another architecture than this machine's, whose kernel runs them as well; with fewer rounds unless -full is set
	fully            // on all with -full, otherwise as once
	some             // on all with -full, otherwise on the oldest one
	seldom           // on otherKernel with -full, otherwise only on this machine's kernel
)

// isRun reports whether tests are run on a kernel.
func (w where) isRun(k kernel, full bool) bool {
	switch {
	case w == everywhere || full && (w == fully || w == some):
		return true
	case w == some:
		return k.isSample()
	case w == seldom:
		return full && k.Name == otherKernel
	case w == foreign && !full && k.Arch == runtime.GOARCH:
		return false
	}
	return k.Name == longKernel(k.Arch)
}

// isSample reports whether a kernel is the one that also runs tests of what the programs and the agent
// decide, which is the same on all kernels whose verifier accepts the programs: the oldest, which differs most
// from the kernel of this machine, where all tests are run.
func (k kernel) isSample() bool { return k.Name == "5.10" && k.Arch == "amd64" }

// A suiteOfTests selects tests of a package for a guest. Tests that take long or need something that
// a guest lacks are run only outside of guests.
type suiteOfTests struct {
	pkg   string // path in the module
	shows column
	run   string // as -test.run
	skip  string // as -test.skip
	on    where
	swap  bool // whether the machine has swap; otherwise no test's memory may go there
}

func tests() []suiteOfTests {
	const (
		// These compare what the programs compute with Go, go over versions of the agent, or race
		// thousands of forks, and kernels of an architecture do not differ in it.
		texts = "TextsMadeOfTheRules|TextsOfBanPrefixes|AcrossItsChunks|FindsCombinations|OfEveryLength|" +
			"FuzzTheKernelsMatcher|MatchersInTheKernelAndInGo|ManyAllowPatterns|AnotherVersionIsReplaced|WhileProcessesAreListed"
		// What differs between kernels is whether the programs are loaded, see each exec and fork,
		// kill, and whether the judgement can be deferred.
		kernelsPart = "Verifier|OfADeepCgroup|EachFork|Zombies|Deferred|TheKernelKeeps"
		// And whether they see and refuse each way to connect and send.
		ways   = "Verifier|MinersDieBefore|NoWayTo|AtTheRootCgroup|OlderConnectionsAreFound"
		spared = "ExemptProgramsMine|TheKillLimitHolds|TunnelsAreRefused|AKillIsASign"
		// These force what a slow machine does not do in time, need programs that a guest lacks, or
		// go over settings.
		outside = "PinsHold|AtWork|ADisturbedJudgement|TestScans|TestAMillion|WhatAPoolsNameMeans|IsASignOfAPool|OnlyObservedOrRefused|" +
			"TwoLikelySigns|OfAStranger"
	)
	all := []suiteOfTests{
		// The leak test loads the program a thousand times, and what hangs needs FUSE.
		{pkg: "internal/detector/execwhacker", shows: execs, run: kernelsPart},
		{pkg: "internal/detector/execwhacker", shows: execs, on: some, skip: "LeavesNothingBehind|LongCommandLines|OfAnotherOwnerThatHang|InAnExecThatHangs|" + kernelsPart + "|" + texts},
		// The fuzz target is run by TextsMadeOfTheRules.
		{pkg: "internal/detector/execwhacker", shows: execs, on: foreign, run: "LongCommandLines|" + texts, skip: "Fuzz"},
		{pkg: "test/acceptance", shows: execs, run: "TestTheBuiltInRulesStopMiners|TestEveryWayToExecuteIsJudged|TestTheProtectionEndsWithTheAgent/killed"},
		{pkg: "test/acceptance", shows: execs, on: some, run: "TestNoCommandLineHidesAWord|TestALongCommandLineDoesNotHideOtherExecs"},
		{pkg: "test/acceptance", shows: execs, on: foreign, run: "TestSimilarCommandLinesAreNotKilled|TestAFailedExecKillsNoProcess|" +
			"TestTheProtectionEndsWithTheAgent"},
		// With cgroup v2, which a machine may lack.
		{pkg: "test/acceptance", shows: execs, on: once, run: "TestWithoutMemory/its_parent"},
		{pkg: "test/acceptance", shows: execs, run: "TestNoTrickOutlivesTheVerdict"},
		{pkg: "test/acceptance", shows: execs, on: some, run: "TestArgumentsThatAreSwappedOut", swap: true},
		{pkg: "test/acceptance", shows: scans, run: "TestAScanKillsOlderProcesses"},
		{pkg: "internal/process", shows: scans},
		// The others need FUSE, a module in these kernels, or an exec that ends at once.
		{pkg: "internal/procread", shows: scans, run: "FirstThread|HasEnded|EveryProcess|TheUser", skip: "Hangs"},
		{pkg: "internal/inventory", shows: guards},
		{pkg: "internal/exempt", shows: guards, run: "Cgroups|ByItsFile|RootOnTheNode"},
		// Two need FUSE.
		{pkg: "internal/exempt", shows: guards, on: some, skip: "Cgroups|ByItsFile|RootOnTheNode|LookedUp|DoesNotAnswerBlocks"},
		{pkg: "internal/pin", shows: guards},
		{pkg: "internal/killlimit", shows: guards},
		{pkg: "internal/escalate", shows: guards, run: "IsEndedAfterItsKills|ForkBomb|AgainAndAgain"},
		{pkg: "test/acceptance", shows: guards, on: some, run: "TestALoopOfBannedPrograms"},
		{pkg: "internal/detector/monero", shows: modes, skip: "AFloodOfSuspects"},
		{pkg: "test/acceptance", shows: honest, on: some, run: "TestLegitimateRoundingLivesBesideAMiner"},
		// The interpreter takes seconds for a hash under emulation, so it is random whether rule
		// P matches.
		{pkg: "test/acceptance", shows: jit, on: fully, run: "TestMinersAreFoundByTheirRoundingModes/light,_compiled$"},
		{pkg: "internal/doctor", shows: sentences},
		{pkg: "cmd/cryptnono", shows: sentences, on: some, run: "TestRunNames"},
		{pkg: "cmd/cryptnono", shows: sentences, on: foreign, run: "TestDoctor$/(capabilities|user_namespace)"},
		{pkg: "internal/bpfstats", shows: guards},
		{pkg: "internal/agent", shows: guards, run: "Capabilities"},
		{pkg: "internal/detector/example", shows: guards, on: some},
		{pkg: "internal/detector/tcpflowkiller", shows: traffic, run: ways},
		{pkg: "internal/detector/tcpflowkiller", shows: traffic, on: some, run: spared},
		{pkg: "internal/detector/tcpflowkiller", shows: traffic, on: seldom, skip: outside + "|" + ways + "|" + spared},
		{pkg: "internal/detector/hashwork", shows: computing, run: "WordsOfAMinerDies/by_its_path|StartsItselfAgainDies/again|Clock|Verifier"},
		{pkg: "internal/detector/hashwork", shows: computing, on: some, run: "WithoutAESIsObserved/soft"},
		{pkg: "internal/detector/hashwork", shows: computing, on: seldom, run: "WordsOfAMinerDies|StartsItselfAgainDies|Scratchpad|AES|Observe|Learned|Policy|NotKilled", skip: "OverAScratchpadDies"},
		{pkg: "internal/detector/hashwork/learned", shows: computing, on: seldom},
		{pkg: "internal/detector/tcpflowkiller/firstbytes", shows: traffic, run: "Verifier"},
		{pkg: "internal/detector/tcpflowkiller/firstbytes", shows: traffic, on: foreign, run: "Kernel"},
	}
	for _, k := range detectors.All() {
		pkg := "internal/detector/" + k.Name
		if !slices.ContainsFunc(all, func(s suiteOfTests) bool { return s.pkg == pkg }) {
			all = append(all, suiteOfTests{pkg: pkg, shows: execs})
		}
	}
	return all
}

// longKernel returns the line of an architecture on which long tests are always run: a miner needs up
// to half a minute before its first hash under emulation.
func longKernel(arch string) string {
	if arch == "arm64" {
		return "6.1"
	}
	return "6.12"
}

// otherKernel has a short run otherwise.
const otherKernel = "6.18"

// A failure is a machine on which the agent cannot work, and the message that it must print.
type failure struct {
	name string
	args []string
	says string // in what it prints
	boot string // more of the kernel's command line: then it is a boot of its own
}

func failures() []failure {
	const (
		agent     = "/t/cryptnono"
		noBTF     = "/sys/kernel/btf/vmlinux is missing: use a kernel built with CONFIG_DEBUG_INFO_BTF=y"
		lockedUp  = "confidentiality, where BPF programs cannot read kernel memory: boot with lockdown=integrity"
		oldKernel = "is too old: Linux 5.10 or later is needed"
	)
	return []failure{
		{"doctor without BTF", []string{"/init", "without-btf", agent, "doctor"}, noBTF, ""},
		{"run without BTF", []string{"/init", "without-btf", agent, "run"}, "cryptnono: BTF: " + noBTF, ""},
		{"doctor on an old kernel", []string{"/init", "old-release", agent, "doctor"}, oldKernel, ""},
		{"run on an old kernel", []string{"/init", "old-release", agent, "run"}, oldKernel, ""},
		{"doctor under lockdown", []string{agent, "doctor"}, lockedUp, "lockdown=confidentiality"},
		{"run under lockdown", []string{agent, "run"}, "cryptnono: lockdown: " + lockedUp, "lockdown=confidentiality"},
	}
}

// lockdownKernel is the line for failures that need a separate boot.
const lockdownKernel = "6.12"
