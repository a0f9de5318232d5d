// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Rounds upwards, which makes it a suspect, and has argv[1] mappings. Computes for a
 * twenty-fifth of its time.
 */
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "rounding.h"

int main(int argc, char **argv)
{
	size_t page = sysconf(_SC_PAGESIZE);
	volatile double sum = 0;
	char *area;

	if (argc != 2)
		return 2;
	long n = atol(argv[1]);

	area = mmap(NULL, n * page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (area == MAP_FAILED)
		return 2;
	/* Neighbours with different permissions are not merged. */
	for (long i = 0; i < n; i += 2)
		if (mprotect(area + i * page, page, PROT_READ | PROT_EXEC))
			return 2;
	if (write(1, "ran\n", 4) != 4)
		return 2;
	set_rounding('u');
	for (;;) {
		clock_t until = clock() + CLOCKS_PER_SEC / 100;

		while (clock() < until)
			sum += 0.1;
		usleep(240000);
	}
}
