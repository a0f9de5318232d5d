// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * For LD_PRELOAD: large allocations are mappings of a file on a disk, whose pages do not
 * count as anonymous memory. They are never freed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define LARGE (16UL << 20)

int posix_memalign(void **memory, size_t alignment, size_t size)
{
	char name[] = "/tmp/memoryXXXXXX";
	int fd;

	if (size < LARGE) {
		*memory = aligned_alloc(alignment, (size + alignment - 1) & ~(alignment - 1));
		return *memory ? 0 : ENOMEM;
	}
	fd = mkstemp(name);
	if (fd < 0 || unlink(name) || ftruncate(fd, size))
		return ENOMEM;
	*memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return *memory == MAP_FAILED ? ENOMEM : 0;
}
