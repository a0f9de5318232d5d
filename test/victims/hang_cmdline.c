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
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static void answer(int fuse, uint64_t request, int error, void *data, size_t size)
{
	struct fuse_out_header header = {
		.len = sizeof(header) + size,
		.error = error,
		.unique = request,
	};
	struct iovec parts[] = {{&header, sizeof(header)}, {data, size}};

	if (writev(fuse, parts, 2) < 0)
		err(2, "answering a request");
}

/* A single file, the root, of 1 MiB. Reads of it never return. */
static void serve(int fuse)
{
	static _Alignas(8) char request[FUSE_MIN_READ_BUFFER];
	struct fuse_in_header *in = (void *)request;
	struct fuse_init_out init = {.major = 7, .minor = 31, .max_write = 4096};
	struct fuse_attr_out attr = {
		.attr = {.ino = 1, .size = 1 << 20, .mode = S_IFREG | 0600, .nlink = 1},
	};
	struct fuse_open_out opened = {0};

	while (read(fuse, request, sizeof(request)) > 0) {
		if (in->opcode == FUSE_INIT)
			answer(fuse, in->unique, 0, &init, sizeof(init));
		else if (in->opcode == FUSE_GETATTR)
			answer(fuse, in->unique, 0, &attr, sizeof(attr));
		else if (in->opcode == FUSE_OPEN)
			answer(fuse, in->unique, 0, &opened, sizeof(opened));
		else if (in->opcode != FUSE_READ)
			answer(fuse, in->unique, -ENOSYS, NULL, 0);
	}
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
	char options[100], *device = getenv("FUSE");
	void *page;
	int fuse, file;

	fuse = open(device ? device : "/dev/fuse", O_RDWR | O_CLOEXEC);
	if (fuse < 0)
		err(2, "opening /dev/fuse");
	snprintf(options, sizeof(options), "fd=%d,rootmode=100000,user_id=%d,group_id=%d", fuse, getuid(), getgid());
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("hang", "/dev/null", "fuse", MS_NOSUID | MS_NODEV, options))
		err(2, "mounting");
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
