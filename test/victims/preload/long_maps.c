// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * For LD_PRELOAD: adds 10 MB to /proc/PID/maps before the program's mappings, by mappings
 * of a file with a path of nearly 4,096 bytes.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAPPINGS 2400

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

__attribute__((constructor)) static void lengthen(void)
{
	const char *folder = getenv("FOLDER"); /* not cleaned up */
	char name[201];
	int here = open(".", O_RDONLY), fd;

	memset(name, 'a', 200);
	name[200] = 0;
	if (here < 0 || !folder || chdir(folder))
		fail("FOLDER");
	for (int depth = 0; depth < 19; depth++)
		if (mkdir(name, 0700) || chdir(name))
			fail("mkdir");
	fd = open("file", O_RDWR | O_CREAT, 0600);
	if (fd < 0 || ftruncate(fd, 4096))
		fail("file");
	for (long i = 0; i < MAPPINGS; i++) {
		void *at = (void *)(0x10000000 + i * 4096);

		if (mmap(at, 4096, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, 0) != at)
			fail("mmap");
	}
	close(fd);
	if (fchdir(here))
		fail("fchdir");
	close(here);
	unsetenv("LD_PRELOAD");
}
