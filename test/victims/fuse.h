/* SPDX-License-Identifier: GPL-3.0-or-later */
/* File systems in user space (FUSE), as far as programs need them to have others wait. The
 * variable FUSE may have the path of the device. */
#pragma once

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static inline int fuse_open(void)
{
	const char *device = getenv("FUSE");
	int fuse = open(device ? device : "/dev/fuse", O_RDWR | O_CLOEXEC);

	if (fuse < 0)
		err(2, "opening /dev/fuse");
	return fuse;
}

/* Answers a request, unless it has been interrupted. */
static inline void fuse_answer(int fuse, struct fuse_in_header *in, int error, const void *data, size_t size)
{
	struct fuse_out_header header = {
		.len = sizeof(header) + size,
		.error = error,
		.unique = in->unique,
	};
	struct iovec parts[] = {{&header, sizeof(header)}, {(void *)data, size}};

	if (writev(fuse, parts, 2) < 0 && errno != ENOENT)
		err(2, "answering a request");
}

/* Mounts on a file one of the same type, for this process alone. */
static inline void fuse_mount_alone(int fuse, const char *file)
{
	char options[100];

	snprintf(options, sizeof(options), "fd=%d,rootmode=100000,user_id=%d,group_id=%d", fuse, getuid(), getgid());
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("hang", file, "fuse", MS_NOSUID | MS_NODEV, options))
		err(2, "mounting");
}

/* Answers a request for that file, the root, of 1 MiB with these permissions, but no read of
 * it: then it returns 0. */
static inline int fuse_answer_alone(int fuse, struct fuse_in_header *in, mode_t permissions)
{
	struct fuse_init_out init = {.major = 7, .minor = 31, .max_write = 4096};
	struct fuse_attr_out attr = {
		.attr = {.ino = 1, .size = 1 << 20, .mode = S_IFREG | permissions, .nlink = 1},
	};
	struct fuse_open_out opened = {0};

	if (in->opcode == FUSE_READ)
		return 0;
	if (in->opcode == FUSE_INIT)
		fuse_answer(fuse, in, 0, &init, sizeof(init));
	else if (in->opcode == FUSE_GETATTR)
		fuse_answer(fuse, in, 0, &attr, sizeof(attr));
	else if (in->opcode == FUSE_OPEN)
		fuse_answer(fuse, in, 0, &opened, sizeof(opened));
	else
		fuse_answer(fuse, in, -ENOSYS, NULL, 0);
	return 1;
}
