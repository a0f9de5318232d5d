// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Ends its first thread and continues in a second one. /proc/PID is then that of a zombie
 * without program or arguments, while the process still runs.
 */
#include <pthread.h>
#include <unistd.h>

static void *work(void *arg)
{
	(void)arg;
	while (pause())
		;
	return NULL;
}

int main(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, work, NULL))
		return 2;
	pthread_exit(NULL);
}
