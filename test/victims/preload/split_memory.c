// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * For LD_PRELOAD: splits each large allocation into many mappings with madvise, which has
 * no other effect.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#define PIECE (32UL << 20)

int posix_memalign(void **memory, size_t alignment, size_t size)
{
	*memory = aligned_alloc(alignment, (size + alignment - 1) & ~(alignment - 1));
	if (!*memory)
		return ENOMEM;
	for (size_t at = PIECE; at + 2 * 4096 < size; at += PIECE)
		madvise((void *)(((size_t)*memory + at) & ~4095UL), 4096, MADV_DONTDUMP);
	return 0;
}
