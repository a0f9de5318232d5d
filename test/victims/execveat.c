// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Opens argv[1] and executes argv[2] relative to that, with the arguments
 * argv[3..]. An empty argv[2] executes the opened file itself.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

extern char **environ;

int main(int argc, char **argv)
{
	int fd;

	if (argc < 4)
		return 2;
	fd = open(argv[1], O_PATH | O_CLOEXEC);
	if (fd < 0)
		return 2;
	execveat(fd, argv[2], argv + 3, environ, AT_EMPTY_PATH);
	perror("execveat");
	return 127;
}
