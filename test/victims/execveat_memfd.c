// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Copies the program file argv[1] into a memfd and executes it with the arguments
 * argv[2..], so that no path leads to the program.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <unistd.h>

extern char **environ;

int main(int argc, char **argv)
{
	int from, to;
	ssize_t n;

	if (argc < 3)
		return 2;
	from = open(argv[1], O_RDONLY | O_CLOEXEC);
	to = memfd_create("", MFD_CLOEXEC);
	if (from < 0 || to < 0)
		return 2;
	while ((n = sendfile(to, from, NULL, 1 << 20)) > 0)
		;
	if (n < 0)
		return 2;
	execveat(to, "", argv + 2, environ, AT_EMPTY_PATH);
	return 127;
}
