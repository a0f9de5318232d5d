// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Computes until it is killed, in the manner of CryptoNight: it reads and writes a
 * scratchpad of 2 MiB, in steps of 16 bytes, at addresses that follow from the data. It is
 * no CryptoNight, and has no name, option or text of a miner.
 *
 *   scratchpad WAY [THREADS]
 *
 *   aes       a round of AES in each step, by an instruction if the CPU has it
 *   register  the same with the mask of the addresses in a register, not in the code
 *   soft      the same round as in aes by tables
 *   table     counts in a table of 16-byte entries, which is legitimate work
 *
 * It prints "computing" when it begins. Without an instruction for AES, aes and register are soft.
 *
 * Built with -shared -fPIC, it is a library with int compute(const char *WAY).
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#define TARGET_AES __attribute__((target("aes,sse4.1")))
#define HAS_AES __builtin_cpu_supports("aes")
#elif defined(__aarch64__)
#include <arm_neon.h>
#include <sys/auxv.h>
#define TARGET_AES __attribute__((target("+crypto")))
#define HAS_AES (getauxval(AT_HWCAP) & 1 << 3)
#endif

#define SIZE (2 << 20)
#define MASK (SIZE - 16)
#define STEPS (1 << 19)

typedef struct {
	uint64_t low, high;
} block;

static uint32_t tables[4][256];

static uint8_t twice(uint8_t x)
{
	return x << 1 ^ (x & 0x80 ? 0x1b : 0);
}

/* The tables of FIPS 197, from the powers of 3 and of its inverse 0xf6. */
static void fill_tables(void)
{
	uint8_t power[256], s;
	uint8_t x = 1;

	for (int i = 0; i < 255; i++, x ^= twice(x))
		power[i] = x;
	for (int i = 0; i < 256; i++) {
		s = 0;
		for (int log = 0; log < 255; log++)
			if (power[log] == i)
				s = power[(255 - log) % 255];
		s ^= (s << 1 | s >> 7) ^ (s << 2 | s >> 6) ^ (s << 3 | s >> 5) ^ (s << 4 | s >> 4) ^ 0x63;
		uint32_t word = twice(s) | s << 8 | s << 16 | (uint32_t)(twice(s) ^ s) << 24;

		for (int t = 0; t < 4; t++, word = word << 8 | word >> 24)
			tables[t][i] = word;
	}
}

static inline uint32_t column(uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
	return tables[0][a & 255] ^ tables[1][b >> 8 & 255] ^ tables[2][c >> 16 & 255] ^ tables[3][d >> 24];
}

static inline block soft_round(block x, block key)
{
	uint32_t a = x.low, b = x.low >> 32, c = x.high, d = x.high >> 32;

	return (block){
		(column(a, b, c, d) | (uint64_t)column(b, c, d, a) << 32) ^ key.low,
		(column(c, d, a, b) | (uint64_t)column(d, a, b, c) << 32) ^ key.high,
	};
}

TARGET_AES static inline block aes_round(block x, block key)
{
#if defined(__x86_64__)
	__m128i out = _mm_aesenc_si128(_mm_set_epi64x(x.high, x.low), _mm_set_epi64x(key.high, key.low));

	return (block){_mm_cvtsi128_si64(out), _mm_extract_epi64(out, 1)};
#elif defined(__aarch64__)
	uint8x16_t in = vreinterpretq_u8_u64(vcombine_u64(vcreate_u64(x.low), vcreate_u64(x.high)));
	uint64x2_t out = vreinterpretq_u64_u8(vaesmcq_u8(vaeseq_u8(in, vdupq_n_u8(0))));

	return (block){vgetq_lane_u64(out, 0) ^ key.low, vgetq_lane_u64(out, 1) ^ key.high};
#endif
}

static inline block *at(char *pad, uint64_t address)
{
	return (block *)(pad + address);
}

/* Each step has two accesses: one with a round of AES, one with a multiplication. */
#define WALK(name, target, round, mask)                                                                                \
	target static void name(char *pad, block *state)                                                               \
	{                                                                                                              \
		uint64_t bits = MASK;                                                                                  \
                                                                                                                       \
		mask(bits);                                                                                            \
		block a = state[0], b = state[1];                                                                      \
                                                                                                                       \
		for (int i = 0; i < STEPS; i++) {                                                                      \
			block *p = at(pad, a.low & bits);                                                              \
			block c = round(*p, a);                                                                        \
                                                                                                                       \
			*p = (block){b.low ^ c.low, b.high ^ c.high};                                                  \
			p = at(pad, c.low & bits);                                                                     \
			block d = *p;                                                                                  \
			unsigned __int128 product = (unsigned __int128)c.low * d.low;                                  \
                                                                                                                       \
			a.low += product >> 64;                                                                        \
			a.high += (uint64_t)product;                                                                   \
			*p = a;                                                                                        \
			a.low ^= d.low;                                                                                \
			a.high ^= d.high;                                                                              \
			b = c;                                                                                         \
		}                                                                                                      \
		state[0] = a;                                                                                          \
		state[1] = b;                                                                                          \
	}
#define KNOWN(bits) (void)(bits)
#define UNKNOWN(bits) __asm__("" : "+r"(bits)) /* to the compiler */
#define APART __attribute__((aligned(1024)))   /* no mask of another function is near */

WALK(walk_aes, TARGET_AES, aes_round, KNOWN)
WALK(walk_unmasked, TARGET_AES APART, aes_round, UNKNOWN)
WALK(walk_soft, APART, soft_round, KNOWN)

static void count(char *pad, block *state)
{
	uint64_t x = state[0].low;

	for (int i = 0; i < STEPS; i++) {
		block *entry = at(pad, (x ^ x >> 32) & MASK);

		entry->low++;
		entry->high ^= x;
		x = x * 0x5851f42d4c957f2d + entry->low;
	}
	state[0].low = x;
}

int compute(const char *way)
{
	block state[2] = {{1, 2}, {3, 4}};
	char *pad = aligned_alloc(4096, SIZE);
	void (*work)(char *, block *) = count;

	if (!pad)
		return 1;
	if (strcmp(way, "table"))
		work = walk_soft;
	if (!strcmp(way, "aes") && HAS_AES)
		work = walk_aes;
	if (!strcmp(way, "register") && HAS_AES)
		work = walk_unmasked;
	fill_tables();
	for (size_t i = 0; i < SIZE; i += sizeof *state) {
		state[0] = soft_round(state[0], state[1]);
		memcpy(pad + i, state, sizeof *state);
	}
	for (;;)
		work(pad, state);
}

static void *thread(void *way)
{
	return compute(way) ? NULL : way;
}

int main(int argc, char **argv)
{
	pthread_t id;

	if (argc < 2)
		return 2;
	puts("computing");
	fflush(stdout);
	for (int i = 1; argc > 2 && i < atoi(argv[2]); i++)
		if (pthread_create(&id, NULL, thread, argv[1]))
			return 1;
	return compute(argv[1]);
}
