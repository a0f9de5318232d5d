// Package rounding decides from samples of the SSE rounding mode whether a process, or a
// cgroup, mines with RandomX or a CryptoNight variant. It is pure logic: the caller brings
// the samples and acts on the decisions.
//
// # What miners do
//
// RandomX sets the mode from its data, with an instruction that makes up one in 256 of the
// random programs of 256 instructions. Eight programs make a hash, which starts in the
// nearest mode (RandomX specification, chapters 1.2, 2 and 5.4). Two things follow, and
// the recordings in ../testdata show them:
//
//   - (255/256)^256 = 37 % of the programs set no mode and keep the previous one. The four
//     modes have shares of .31, .23, .23 and .23.
//   - Where such a program runs for 20 ms, as in an interpreter, samples 10 ms apart are
//     equal more often than by chance, but in at most about .54 of the cases. Samples 40 ms
//     apart are nearly independent.
//
// Some CryptoNight variants stay in one directed mode most of the time. In compiled miners,
// 98 to 100 % of the samples in a directed mode are in memory that the process wrote itself;
// in CGAL, Boost.Interval and the other recorded programs, none are.
//
// # The rules
//
// Rule J (JIT): at least half of the samples are directed, and of the directed samples whose
// code is known, 80 % are in memory that the process wrote itself. It justifies a kill.
// Its limit: a program that is itself compiled at run time, and computes in a directed mode
// for half of its time, as interval arithmetic in Julia or in an emulator may, looks the
// same. It needs an exemption.
//
// Rule P (Pattern): successive samples of one thread have modes like independent draws with
// equally frequent directed modes. It only justifies a suspicion. It detects interpreters,
// and miners whose code location is not known. Its limit: a program that uses all four modes
// equally, and holds each for less than about three times the time between two samples, is
// suspected too. A higher sample rate, or a check for the memory that RandomX needs,
// distinguishes it from a miner.
//
// # Repeated tests
//
// Each sample repeats the test, so a bound that chance exceeds once in a thousand tests would
// be exceeded within minutes. Two things prevent that. The bounds of χ² in rule P are bounds
// of effect size: the more samples a program beyond them gives, the further it is from them.
// And if samples less than 40 ms apart show that modes are held, no other pairs count.
// Simulated legitimate programs were not reported in days of simulated time.
//
// The rules are applied to all threads together and to the thread of each sample, so that
// threads with other work do not hide a miner. Threads with fewer than four modes each can
// look random in sum. So rule P needs more pairs in a sum, and uses only pairs of threads
// that have recently shown all four modes. A thread that lives for less than a dozen samples
// never does: rule P cannot detect a miner that replaces its threads so fast.
//
// # Bounds
//
// A Subject takes 1.4 KB, and as much for each thread that it tracks, of which there are at
// most MaxThreads. A sample takes about a microsecond, and a pass over the threads once in
// an eighth of the window. Threads beyond the bound count only for rule J of all threads;
// threads that become idle are evicted for them. The caller bounds the number of subjects.
package rounding
