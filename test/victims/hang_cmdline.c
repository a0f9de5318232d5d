// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Blocks every reader of its command line. One thread reads its own memory through
 * /proc/self/mem, from a page of a file system in user space (FUSE) that never answers:
 * the kernel waits with the mmap lock held for reading. Another thread waits for the lock
 * for writing, and any further reader queues behind it. The file system is mounted over
 * /dev/null in a new mount namespace, and served by a child that ends with this program.
 * Needs CAP_SYS_ADMIN, also in a user namespace, and /dev/fuse, or a device whose path is
 * in the variable FUSE.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuse.h"

static void serve(int fuse)
{
	static _Alignas(8) char request[FUSE_MIN_READ_BUFFER];

	while (read(fuse, request, sizeof(request)) > 0)
		fuse_answer_alone(fuse, (void *)request, 0600);
}

static void *read_memory(void *page)
{
	char byte;
	int memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);

	if (pread(memory, &byte, 1, (uintptr_t)page) != 1)
		err(2, "reading memory");
	return NULL;
}

int main(void)
{
	size_t size = sysconf(_SC_PAGESIZE);
	pthread_t thread;
	struct stat ignored;
	void *page;
	int fuse = fuse_open(), file;

	fuse_mount_alone(fuse, "/dev/null");
	if (fork() == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		serve(fuse);
		return 0;
	}
	close(fuse);

	file = open("/dev/null", O_RDONLY | O_CLOEXEC);
	page = mmap(NULL, size, PROT_READ, MAP_PRIVATE, file, 0);
	if (fstat(file, &ignored) || page == MAP_FAILED || pthread_create(&thread, NULL, read_memory, page))
		err(2, "mapping the file");
	for (;;)
		munmap(mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), size);
}
