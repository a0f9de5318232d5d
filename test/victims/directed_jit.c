// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Stands in for the CryptoNight variants whose loop is compiled at run time: it
 * rounds upwards for most of the time, in code that belongs to no file.
 *
 *   directed_jit anonymous|twice|written [DIRECTORY]
 *
 * twice: the code lies in a file, which is mapped once for writing and once, as any
 * program's text is, for running. written: the file is mapped for running alone, and
 * written anew by pwrite in each round. The file is in /tmp or in DIRECTORY.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "rounding.h"

#if defined(__x86_64__)
static const unsigned char loop[] = {
	0xf2, 0x0f, 0x58, 0xc1, /* addsd %xmm1, %xmm0 */
	0x48, 0xff, 0xcf,	/* dec %rdi */
	0x75, 0xf7,		/* jnz to the start */
	0xc3,			/* ret */
};
#elif defined(__aarch64__)
static const unsigned int loop[] = {
	0x1e612800, /* fadd d0, d0, d1 */
	0xf1000400, /* subs x0, x0, #1 */
	0x54ffffc1, /* b.ne to the start */
	0xd65f03c0, /* ret */
};
#endif

static int fd;

static void *code(const char *kind, const char *directory)
{
	char name[4096];
	void *write, *run;

	if (!strcmp(kind, "anonymous")) {
		run = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (run == MAP_FAILED)
			exit(1);
		memcpy(run, loop, sizeof loop);
		__builtin___clear_cache(run, (char *)run + sizeof loop);
		return run;
	}
	snprintf(name, sizeof name, "%s/codeXXXXXX", directory);
	fd = mkstemp(name);
	if (fd < 0 || unlink(name) || ftruncate(fd, 4096))
		exit(1);
	if (!strcmp(kind, "written")) {
		run = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
		if (run == MAP_FAILED)
			exit(1);
		return run;
	}
	write = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	run = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
	if (write == MAP_FAILED || run == MAP_FAILED)
		exit(1);
	memcpy(write, loop, sizeof loop);
	__builtin___clear_cache(run, (char *)run + sizeof loop);
	return run;
}

int main(int argc, char **argv)
{
	const char *kind = argc > 1 ? argv[1] : "anonymous";
	double (*add)(long, double, double) = code(kind, argc > 2 ? argv[2] : "/tmp");
	volatile double sum = 0;

	for (int i = 0;; i = (i + 1) % 100) {
		set_rounding(i < 15 ? 'n' : 'u');
		if (!strcmp(kind, "written") && pwrite(fd, loop, sizeof loop, 0) != sizeof loop)
			return 1;
		sum += add(100000, 1, 0.1);
	}
}
