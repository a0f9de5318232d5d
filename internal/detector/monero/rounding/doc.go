// Package rounding decides from samples of the SSE rounding mode whether a
// process, or a cgroup, mines with RandomX or a CryptoNight variant. It is pure
// logic: the caller brings the samples and acts on the decisions.
//
// # What miners do
//
// RandomX sets the mode from its data, with an instruction that makes up one in
// 256 of the random programs of 256 instructions; eight of them make a hash,
// which starts in the nearest mode (RandomX specification, chapters 1.2, 2 and
// 5.4). Two things follow, and recordings (../testdata) agree with them:
//
//   - (255/256)^256 = 37 % of the programs set no mode and run in the one they
//     find. The four modes are seen in shares of .31, .23, .23 and .23.
//   - Where such a program runs for 20 ms, as in an interpreter, samples 10 ms
//     apart are alike more often than by chance, though never in more than
//     about .54 of the cases. Those 40 ms apart are nearly independent.
//
// Some CryptoNight variants stay in one directed mode instead, most of the time.
// Of the samples of compiled miners in a directed mode, 98 to 100 % lie in
// memory that the process filled itself; of those of CGAL, Boost.Interval and the other
// programs that were recorded, none.
//
// # The rules
//
// Rule J (JIT): at least half of the samples are directed, and 80 % of these, of
// those of which it is known where they lay, lie in memory that the process filled
// itself. It is ground for a kill. Its limit: a program
// that is compiled at run time itself, and computes in a directed mode for half
// of its time, as interval arithmetic in Julia or in an emulator may, looks the
// same. Such a program needs an exemption.
//
// Rule P (Pattern): pairs of samples of one thread, one after the other, have
// modes like independent draws with evenly frequent directed modes. It is ground
// for suspicion only. It finds interpreters, and miners of which the place of
// the instruction is not known. Its limit: a program that goes through all four
// modes evenly, and holds each for less than about three times the time between
// two samples, is suspected too. To sample it faster, or to look for the memory
// that RandomX needs, clears it.
//
// # Many looks
//
// Each sample is another look at the same question, so that a bound which chance
// exceeds one time in a thousand would be exceeded within minutes. Two things
// make the answer stable. The bounds of χ² in rule P are bounds of effect size:
// the more is seen of a program beyond them, the further it gets from them. And
// if samples that are less than 40 ms apart show that modes are held, no other
// samples count. Programs that were simulated for days were spared throughout.
//
// Each rule is asked of all threads together, and of each thread that brings a
// sample, so that threads with other work hide no miner. Programs with fewer
// than four modes each can look random in sum. Hence rule P asks for more pairs
// in a sum, and takes there only pairs of threads that have lately shown all
// four modes. Threads that live for less than a dozen samples never do: rule P
// does not see a miner that changes them so fast.
//
// # Bounds
//
// A Subject takes 1.4 KB, and the same for each thread it tells apart, of which
// there are at most MaxThreads. A sample takes about a microsecond, and a pass
// over the threads once in an eighth of the window. Threads beyond the bound
// count for rule J in the sum, and for nothing else; threads that go idle make
// room for them. The number of subjects is for the caller to bound.
package rounding
