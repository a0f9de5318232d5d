// Package scratchpad decides from samples of registers whether a process computes
// CryptoNight hashes. It is pure logic: the caller takes the samples with a clock in user
// mode, reads the code that Lines names, and acts on the finding.
//
// # What miners do
//
// CryptoNight reads and writes a scratchpad of 2^17 to 2^22 bytes at addresses that follow
// from its data (CryptoNote Standard 008, "Memory-Hard Loop"). An access has 16 bytes and the
// data are as good as random. So the compiled loop masks with 2^k-16, a constant that is rare
// elsewhere, and a register points with equal probability at each 16 bytes of the scratchpad.
// There is one AES round in each iteration, and one multiplication of 64 bits by 64 bits.
//
// # The rules
//
// Rule C: at least MinWalks of the samples are of code with such a mask, in which a register
// points evenly all over a window of just the size of the mask. It justifies a report. It
// justifies a kill if next to no values are near the window, and some of this code also has
// an AES round that runs. Its limits:
//
//   - A hash table of 16-byte entries whose size is a power of two can look the same but for
//     the AES round: compilers mask the index and shift it, but a programmer may mask the
//     offset. It is reported, as is a part of a buffer of up to six times the size of a mask.
//   - A miner that keeps the mask in a register, or shifts instead, is not found.
//   - A miner with AES in software is reported, not killed.
//   - A miner that spreads its work over a thousand threads or more is not found: none
//     has enough samples in its turn.
//
// Rule C2: a register points evenly all over a window of a power of two, in steps of 16, in
// code without a mask of that size, with few AES rounds and a multiplication of 64 bits. It finds the
// second of these limits, but a hash table that hashes with AES rounds is near to it. It justifies a
// report.
//
// Rule K: most of the samples are of code with products of 64 bits in vectors (pmuludq), which
// argon2, yescrypt and yespower use. Or a quarter of them are of code that has such a product in a
// general register, and the rotations of argon2: the reference implementation uses no vectors. And the
// process uses its memory again from hash to hash. It justifies a report: a server that checks
// passwords and keeps the memory looks the same. On arm64, yescrypt and yespower are not found: they
// use no vectors there, and have no rotations.
//
// # Why the window that holds most
//
// Compilers use a register for other values within a line of code, so that a part of the
// samples is elsewhere. Threads are evaluated one by one, since the scratchpads of two can
// be neighbours and then look like one of twice the size. So that each has enough samples,
// few threads are followed at a time.
//
// Evenness without the mask is no evidence: a counter of 2^19 steps is as even, and of 106
// recorded legitimate programs 15 have an even register somewhere.
//
// # Bounds
//
// Samples takes at most 47 KB on amd64 and 80 KB on arm64. A sample costs some 20 ns, and
// Judge at most some 1 ms on amd64 and 2 ms with the registers of arm64, whatever the
// process does; ordinary processes cost 5 to 50 µs (bench_test.go). The caller bounds the
// number of processes.
package scratchpad
