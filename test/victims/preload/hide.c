// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A library for LD_PRELOAD (build it with -shared -fPIC) that makes a miner's memory hard
 * to find in /proc/PID/maps:
 *
 *   MAPS=FILE   maps a file 2,400 times below all other mappings, so that the list begins
 *               with as many lines, each with the path
 *   SPLIT=1     sets a flag on one page in each 64 MiB of large allocations, which splits
 *               them into several mappings
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static void split(void *memory, size_t size)
{
	const size_t step = 64 << 20;
	uintptr_t page = sysconf(_SC_PAGESIZE);
	uintptr_t from = ((uintptr_t)memory + page - 1) & -page;

	if (!getenv("SPLIT") || size < step)
		return;
	for (uintptr_t at = from + page; at + page < (uintptr_t)memory + size; at += step)
		madvise((void *)at, page, MADV_DONTDUMP);
}

int posix_memalign(void **memory, size_t alignment, size_t size)
{
	int (*next)(void **, size_t, size_t) = dlsym(RTLD_NEXT, "posix_memalign");
	int error = next(memory, alignment, size);

	if (!error)
		split(*memory, size);
	return error;
}

void *mmap(void *at, size_t size, int prot, int flags, int fd, off_t offset)
{
	void *(*next)(void *, size_t, int, int, int, off_t) = dlsym(RTLD_NEXT, "mmap");
	void *memory = next(at, size, prot, flags, fd, offset);

	if (memory != MAP_FAILED)
		split(memory, size);
	return memory;
}

__attribute__((constructor)) static void hide(void)
{
	const char *path = getenv("MAPS");
	uintptr_t page = sysconf(_SC_PAGESIZE);
	int file;

	if (!path)
		return;
	file = open(path, O_RDONLY | O_CLOEXEC);
	for (uintptr_t i = 0; i < 2400; i++) {
		void *at = (void *)(0x20000 + 2 * i * page);

		if (mmap(at, page, PROT_READ, MAP_PRIVATE | MAP_FIXED_NOREPLACE, file, 0) == MAP_FAILED)
			exit(2);
	}
	close(file);
}
