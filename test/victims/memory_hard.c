// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Computes until it is killed, in the manner of a memory-hard hash: it mixes blocks of 1 KiB of a
 * memory of 1 MiB, each with another one that follows from the data. It is no such hash, and has no
 * name, option or text of a miner.
 *
 *   memory_hard WAY [new]
 *
 *   scalar  the multiplications and the rotations of argon2 (RFC 9106, 3.6) in general registers
 *   vector  multiplications of 32 bits by 32 bits in vectors, as yescrypt and yespower have
 *
 * With "new", each pass has new memory, as in a program that checks passwords.
 */
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#if defined(__x86_64__)
#include <emmintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define BLOCKS 1024
#define WORDS 128

typedef uint64_t block[WORDS];

static inline uint64_t rotated(uint64_t x, int by)
{
	return x >> by | x << (64 - by);
}

static inline uint64_t mixed(uint64_t x, uint64_t y)
{
	return x + y + 2 * (uint64_t)(uint32_t)x * (uint32_t)y;
}

static void scalar(uint64_t *to, const uint64_t *from)
{
	for (int i = 0; i < WORDS; i += 4) {
		uint64_t a = to[i] ^ from[i], b = to[i + 1], c = to[i + 2], d = to[i + 3] ^ from[i + 3];

		a = mixed(a, b);
		d = rotated(d ^ a, 32);
		c = mixed(c, d);
		b = rotated(b ^ c, 24);
		a = mixed(a, b);
		d = rotated(d ^ a, 16);
		c = mixed(c, d);
		b = rotated(b ^ c, 63);
		to[i] = a, to[i + 1] = b, to[i + 2] = c, to[i + 3] = d;
	}
}

static void vector(uint64_t *to, const uint64_t *from)
{
	for (int i = 0; i < WORDS; i += 2) {
#if defined(__x86_64__)
		__m128i x = _mm_loadu_si128((const __m128i *)(to + i)),
			y = _mm_loadu_si128((const __m128i *)(from + i));

		for (int round = 0; round < 6; round++)
			x = _mm_xor_si128(_mm_add_epi64(_mm_mul_epu32(x, _mm_srli_epi64(x, 32)), y), x);
		_mm_storeu_si128((__m128i *)(to + i), x);
#elif defined(__aarch64__)
		uint64x2_t x = vld1q_u64(to + i), y = vld1q_u64(from + i);

		for (int round = 0; round < 6; round++)
			x = veorq_u64(vmlal_u32(y, vmovn_u64(x), vshrn_n_u64(x, 32)), x);
		vst1q_u64(to + i, x);
#endif
	}
}

int main(int argc, char **argv)
{
	void (*mix)(uint64_t *, const uint64_t *) = argc > 1 && !strcmp(argv[1], "vector") ? vector : scalar;
	uint64_t last = 1;

	for (block *all = NULL;;) {
		if (argc > 2 && all)
			munmap(all, BLOCKS * sizeof(block));
		if (argc > 2 || !all) {
			all = mmap(NULL, BLOCKS * sizeof(block), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
				   -1, 0);
			if (all == MAP_FAILED)
				return 1;
			madvise(all, BLOCKS * sizeof(block), MADV_NOHUGEPAGE);
		}
		for (int i = 0; i < 2 * BLOCKS; i++) {
			uint64_t *to = all[i % BLOCKS];

			to[0] ^= last + i;
			mix(to, all[last % BLOCKS]);
			last = to[WORDS - 1] * 0x9e3779b97f4a7c15 >> 20;
		}
	}
}
