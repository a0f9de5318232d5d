// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Prints "ran", then acts as the variable ACT selects, and ignores its arguments:
 *
 *   end            ends
 *   stay           sleeps
 *   wipe           overwrites its arguments, and sleeps
 *   fork           forks a child that sleeps, and ends
 *   exec           executes $NEXT without arguments
 *   again N        executes itself with the same arguments every N microseconds
 *   hop N          forks and ends every N microseconds, so that a child continues
 *   title TEXT     writes TEXT over its arguments as setproctitle does, forks a
 *                  child that does the same and sleeps, and sleeps
 *
 * Wiping comes first, because it is a race. With the variable QUIET it does not print
 * "ran".
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void rest(void)
{
	for (;;)
		pause();
}

/* Uses the area from argv[0] to the end of the environment. */
static void title(int argc, char **argv, const char *text)
{
	char *start = argv[0], *end = argv[argc - 1] + strlen(argv[argc - 1]) + 1;
	char *copy = strdup(text);

	for (char **variable = environ; *variable; variable++)
		end = *variable + strlen(*variable) + 1;
	memset(start, 0, end - start);
	strncpy(start, copy, end - start - 1);
}

int main(int argc, char **argv)
{
	const char *act = getenv("ACT"), *next = getenv("NEXT");
	const char *behind;

	if (!act)
		return 2;
	if (!strcmp(act, "wipe"))
		memset(argv[0], 'x', argv[argc - 1] + strlen(argv[argc - 1]) - argv[0]);
	if (!getenv("QUIET") && write(1, "ran\n", 4) != 4)
		return 2;
	behind = strchr(act, ' ');
	behind = behind ? behind + 1 : "";
	if (!strcmp(act, "stay") || !strcmp(act, "wipe"))
		rest();
	if (!strcmp(act, "fork")) {
		if (fork())
			_exit(0);
		rest();
	}
	if (!strcmp(act, "exec") && next) {
		execl(next, next, NULL);
		return 127;
	}
	if (!strncmp(act, "again ", 6)) {
		setenv("QUIET", "1", 1);
		usleep(atoi(behind));
		execv("/proc/self/exe", argv);
		return 127;
	}
	while (!strncmp(act, "hop ", 4)) {
		usleep(atoi(behind));
		if (fork())
			_exit(0);
	}
	if (!strncmp(act, "title ", 6)) {
		char *text = strdup(behind);

		title(argc, argv, text);
		if (fork() == 0)
			title(argc, argv, text);
		rest();
	}
	return strcmp(act, "end") ? 2 : 0;
}
