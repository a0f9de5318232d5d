/*
 * Computes like nothing known, and has the words of a miner in its file:
 *   miner_words          computes until it is killed
 *   miner_words again    starts itself again and again, each time for a fifth of a second
 *   miner_words fork     the same by forks, without an exec
 * The same as a shared library: compute().
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

const char *const words[] = {
	"mining.subscribe",	 "mining.authorize", "mining.notify", "mining.submit",
	"mining.set_difficulty", "yespower",	     "verushash",     "ghostrider",
};

static double used(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

/* Computes for this many seconds of CPU time, 0 for ever. */
uint64_t compute(double seconds)
{
	uint64_t x = 1;

	do {
		for (int i = 0; i < 1 << 20; i++) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
		}
	} while (!seconds || used() < seconds);
	return x;
}

int main(int argc, char **argv)
{
	const char *how = argc > 1 ? argv[1] : "";

	if (argc > 9)
		puts(words[argc % 8]); /* so that the words stay */
	if (!strcmp(how, "again")) {
		compute(0.2);
		if (fork())
			_exit(0);
		execv("/proc/self/exe", argv);
		return 1;
	}
	if (!strcmp(how, "fork"))
		for (;;) {
			compute(0.2);
			if (fork())
				_exit(0);
		}
	return compute(0) == 0;
}
