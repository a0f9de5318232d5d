// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Executes argv[2] argv[1] times with the arguments argv[3..], prints "ready" after all
 * execs, and sleeps.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int executed[2];
	char byte;

	if (argc < 3 || pipe2(executed, O_CLOEXEC))
		return 2;
	for (int n = atoi(argv[1]); n > 0; n--) {
		pid_t child = fork();

		if (child < 0)
			err(2, "fork");
		if (child)
			continue;
		execv(argv[2], argv + 2);
		_exit(127);
	}
	close(executed[1]);
	if (read(executed[0], &byte, 1))
		err(2, "waiting for them");
	puts("ready");
	fflush(stdout);
	for (;;)
		pause();
}
