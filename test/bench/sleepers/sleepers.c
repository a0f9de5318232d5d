// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * sleepers COUNT [ARG...]: starts COUNT processes that sleep, prints a line, and ends with
 * them at the end of its standard input. With arguments, each process executes this program
 * with these as argv; otherwise they are only forks.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	char *none[] = {NULL};
	pid_t *children;
	int count;
	char byte;

	if (argc < 2 || strcmp(argv[0], "sleepers")) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	count = atoi(argv[1]);
	children = calloc(count, sizeof(*children));
	if (!children)
		return 1;
	for (int i = 0; i < count; i++) {
		pid_t child = argc > 2 ? vfork() : fork();

		if (child < 0)
			return 1;
		if (child) {
			children[i] = child;
			continue;
		}
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (argc > 2) {
			execve("/proc/self/exe", argv + 2, none);
			_exit(127);
		}
		for (;;)
			pause();
	}
	puts("ready");
	fflush(stdout);
	while (read(0, &byte, 1) > 0)
		;
	for (int i = 0; i < count; i++)
		kill(children[i], SIGKILL);
	for (int i = 0; i < count; i++)
		waitpid(children[i], NULL, 0);
	return 0;
}
