// SPDX-License-Identifier: GPL-3.0-or-later
/* Waits until it is told to end: what holds the namespaces of a pod. */
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static void end(int signal)
{
	(void)signal;
	_exit(0);
}

int main(void)
{
	signal(SIGTERM, end);
	signal(SIGINT, end);
	for (;;)
		pause();
}
