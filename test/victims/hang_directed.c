// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * hang_cmdline, which holds its mmap lock, with a thread that rounds upwards in code that
 * it wrote at run time.
 */
#define main hang
#include "hang_cmdline.c"
#undef main

#include <string.h>

#include "loop.h"
#include "rounding.h"

static void *compute(void *code)
{
	double (*add)(long, double, double) = code;
	volatile double sum = 0;

	for (;;) {
		set_rounding('u');
		sum += add(100000, 1, 0.1);
	}
	return NULL;
}

int main(void)
{
	void *code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pthread_t thread;

	if (code == MAP_FAILED)
		err(2, "mapping memory");
	memcpy(code, loop, sizeof(loop));
	__builtin___clear_cache(code, (char *)code + sizeof(loop));
	if (pthread_create(&thread, NULL, compute, code))
		errx(2, "starting a thread");
	return hang();
}
