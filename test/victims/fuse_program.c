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
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuse.h"

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
	struct stat program;
	char options[100], *text;
	int fuse, file, executed = 0;

	if (argc != 3)
		return 2;
	file = open(argv[2], O_RDONLY | O_CLOEXEC);
	if (file < 0 || fstat(file, &program))
		err(2, "opening %s", argv[2]);
	text = mmap(NULL, program.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, file, 0);
	if (text == MAP_FAILED)
		err(2, "reading %s", argv[2]);
	fuse = fuse_open();
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=%d,group_id=%d,allow_other", fuse, getuid(),
		 getgid());
	if (mount("hang", argv[1], "fuse", MS_NOSUID | MS_NODEV, options))
		err(2, "mounting");
	puts("mounted");
	fflush(stdout);

	while (read(fuse, request, sizeof(request)) > 0) {
		if (in->opcode == FUSE_INIT) {
			fuse_answer(fuse, in, 0, &init, sizeof(init));
		} else if (in->opcode == FUSE_LOOKUP) {
			struct fuse_entry_out entry = {
				.nodeid = 2,
				.generation = 1,
				.entry_valid = 3600,
				.attr = attributes(2, program.st_size),
			};

			if (strcmp((char *)(in + 1), "program"))
				fuse_answer(fuse, in, -ENOENT, NULL, 0);
			else
				fuse_answer(fuse, in, 0, &entry, sizeof(entry));
		} else if (in->opcode == FUSE_GETATTR) {
			struct fuse_attr_out attr = {.attr = attributes(in->nodeid, program.st_size)};

			if (!executed)
				fuse_answer(fuse, in, 0, &attr, sizeof(attr));
		} else if (in->opcode == FUSE_OPEN) {
			executed = 1;
			fuse_answer(fuse, in, 0, &opened, sizeof(opened));
		} else if (in->opcode == FUSE_READ) {
			uint64_t from = wanted->offset, size = program.st_size;
			uint64_t n = from >= size ? 0 : size - from;

			fuse_answer(fuse, in, 0, text + from, n < wanted->size ? n : wanted->size);
		} else if (in->opcode == FUSE_FLUSH || in->opcode == FUSE_RELEASE) {
			fuse_answer(fuse, in, 0, NULL, 0);
		} else if (in->opcode != FUSE_FORGET && in->opcode != FUSE_BATCH_FORGET &&
			   in->opcode != FUSE_INTERRUPT) {
			fuse_answer(fuse, in, -ENOSYS, NULL, 0);
		}
	}
	return 0;
}
