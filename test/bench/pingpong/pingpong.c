// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Two processes on one CPU wake each other through pipes, which causes as many context
 * switches as possible. Prints the time in nanoseconds.
 *
 *   pingpong TURNS nearest|up
 */
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <xmmintrin.h>

static long long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int main(int argc, char **argv)
{
	int to[2], from[2];
	cpu_set_t last;
	char c = 0;

	if (argc < 3 || pipe(to) || pipe(from))
		return 1;
	CPU_ZERO(&last);
	CPU_SET(sysconf(_SC_NPROCESSORS_ONLN) - 1, &last);
	if (sched_setaffinity(0, sizeof last, &last))
		return 1;
	if (!strcmp(argv[2], "up"))
		_MM_SET_ROUNDING_MODE(_MM_ROUND_UP);
	switch (fork()) {
	case -1:
		return 1;
	case 0:
		close(to[1]);
		while (read(to[0], &c, 1) == 1 && write(from[1], &c, 1) == 1)
			;
		return 0;
	}
	long long began = now();
	for (long n = atol(argv[1]); n > 0; n--)
		if (write(to[1], &c, 1) != 1 || read(from[0], &c, 1) != 1)
			return 1;
	printf("%lld\n", now() - began);
	return 0;
}
