// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Mounts on the directory argv[1] a file system in user space (FUSE) with one file,
 * "program", a copy of the program argv[2], and prints "mounted". After the file has been
 * opened for the first time, it does not answer getattr any more: the executed program
 * runs, but a process that stats its file blocks indefinitely. The variable FUSE may have
 * the path of the device.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static int fuse;

static void answer(uint64_t request, int error, const void *data, size_t size)
{
	struct fuse_out_header header = {
		.len = sizeof(header) + size,
		.error = error,
		.unique = request,
	};
	struct iovec parts[] = {{&header, sizeof(header)}, {(void *)data, size}};

	if (writev(fuse, parts, 2) < 0 && errno != ENOENT)
		err(2, "answering a request");
}

static struct fuse_attr attributes(uint64_t node, uint64_t size)
{
	if (node == 1)
		return (struct fuse_attr){.ino = 1, .mode = S_IFDIR | 0755, .nlink = 2};
	return (struct fuse_attr){
		.ino = 2,
		.size = size,
		.mode = S_IFREG | 0755,
		.nlink = 1,
		.blksize = 4096,
	};
}

int main(int argc, char **argv)
{
	static _Alignas(8) char request[FUSE_MIN_READ_BUFFER + (1 << 17)];
	struct fuse_in_header *in = (void *)request;
	struct fuse_read_in *wanted = (void *)(in + 1);
	struct fuse_init_out init = {.major = 7, .minor = 31, .max_write = 4096};
	struct fuse_open_out opened = {.open_flags = FOPEN_KEEP_CACHE};
	const char *device = getenv("FUSE");
	struct stat program;
	char options[100], *text;
	int file, executed = 0;

	if (argc != 3)
		return 2;
	file = open(argv[2], O_RDONLY | O_CLOEXEC);
	if (file < 0 || fstat(file, &program))
		err(2, "opening %s", argv[2]);
	text = mmap(NULL, program.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, file, 0);
	fuse = open(device ? device : "/dev/fuse", O_RDWR | O_CLOEXEC);
	if (text == MAP_FAILED || fuse < 0)
		err(2, "opening /dev/fuse");
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=%d,group_id=%d,allow_other", fuse, getuid(),
		 getgid());
	if (mount("hang", argv[1], "fuse", MS_NOSUID | MS_NODEV, options))
		err(2, "mounting");
	puts("mounted");
	fflush(stdout);

	while (read(fuse, request, sizeof(request)) > 0) {
		if (in->opcode == FUSE_INIT) {
			answer(in->unique, 0, &init, sizeof(init));
		} else if (in->opcode == FUSE_LOOKUP) {
			struct fuse_entry_out entry = {
				.nodeid = 2,
				.generation = 1,
				.entry_valid = 3600,
				.attr = attributes(2, program.st_size),
			};

			if (strcmp((char *)(in + 1), "program"))
				answer(in->unique, -ENOENT, NULL, 0);
			else
				answer(in->unique, 0, &entry, sizeof(entry));
		} else if (in->opcode == FUSE_GETATTR) {
			struct fuse_attr_out attr = {.attr = attributes(in->nodeid, program.st_size)};

			if (!executed)
				answer(in->unique, 0, &attr, sizeof(attr));
		} else if (in->opcode == FUSE_OPEN) {
			executed = 1;
			answer(in->unique, 0, &opened, sizeof(opened));
		} else if (in->opcode == FUSE_READ) {
			uint64_t from = wanted->offset, size = program.st_size;
			uint64_t n = from >= size ? 0 : size - from;

			answer(in->unique, 0, text + from, n < wanted->size ? n : wanted->size);
		} else if (in->opcode == FUSE_FLUSH || in->opcode == FUSE_RELEASE) {
			answer(in->unique, 0, NULL, 0);
		} else if (in->opcode != FUSE_FORGET && in->opcode != FUSE_BATCH_FORGET &&
			   in->opcode != FUSE_INTERRUPT) {
			answer(in->unique, -ENOSYS, NULL, 0);
		}
	}
	return 0;
}
