// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Forks argv[1] children as fast as possible, of which 64 live at a time, and prints their
 * number.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	pid_t alive[64] = {0};
	int n;

	if (argc < 2)
		return 2;
	for (n = 0; n < atoi(argv[1]) + 64; n++) {
		pid_t *child = &alive[n % 64];

		if (*child > 0 && (kill(*child, SIGKILL) || waitpid(*child, NULL, 0) != *child))
			return 1;
		if (n >= atoi(argv[1]))
			continue;
		*child = fork();
		if (*child < 0)
			return 1;
		if (!*child)
			for (;;)
				pause();
	}
	printf("forked %d\n", n - 64);
	return 0;
}
