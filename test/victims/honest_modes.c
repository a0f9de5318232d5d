// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Computes in rounding modes as legitimate programs do, until it is killed.
 *
 *   honest_modes MODES MICROSECONDS [random]
 *
 * MODES is one or more of n(earest), d(own), u(p), z(ero) and f (nearest, with denormal
 * numbers flushed to zero), used in turn or at random, each for that time.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "rounding.h"

static int64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000) + t.tv_nsec / 1000;
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	size_t modes = strlen(argv[1]);
	int64_t each = atol(argv[2]);
	int at_random = argc > 3;
	volatile double sum = 0;

	srand(1);
	for (size_t i = 0;; i++) {
		set_rounding(argv[1][(at_random ? (size_t)rand() >> 8 : i) % modes]);
		int64_t until = now() + each;
		do {
			for (int n = 1; n < 50; n++)
				sum += 1.0 / n;
		} while (now() < until);
	}
}
