// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Declares argv[1] MiB of empty memory to be its arguments, 64 GiB by default, and
 * sleeps. Needs a kernel with checkpoint and restore, but no capabilities.
 */
#include <err.h>
#include <linux/prctl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	size_t size = (argc > 1 ? strtoul(argv[1], NULL, 10) : 64 << 10) << 20;
	uintptr_t area = (uintptr_t)mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	/* The call sets all areas; the others must only be plausible. */
	struct prctl_mm_map map = {
		.start_code = area,
		.end_code = area + 1,
		.start_data = area,
		.end_data = area + 1,
		.start_brk = area + 1,
		.brk = area + 1,
		.start_stack = area,
		.arg_start = area,
		.arg_end = area + size,
		.env_start = area,
		.env_end = area,
		.exe_fd = -1,
	};

	if ((void *)area == MAP_FAILED || prctl(PR_SET_MM, PR_SET_MM_MAP, &map, sizeof(map), 0))
		err(2, "declaring the arguments");
	while (pause())
		;
}
