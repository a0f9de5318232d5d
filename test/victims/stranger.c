// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * All that is in a stranger's container. Without arguments it waits, for
 * commands to be executed in there; with any it prints "ran" and their number.
 */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

static void end(int signal)
{
	(void)signal;
	_exit(0);
}

int main(int argc, char **argv)
{
	(void)argv;
	if (argc > 1)
		return printf("ran %d\n", argc - 1) < 0;
	signal(SIGTERM, end);
	for (;;)
		pause();
}
