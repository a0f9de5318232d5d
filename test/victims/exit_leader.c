// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Ends its first thread and goes on in a second one. /proc/PID then is that of
 * a zombie without program or arguments, while the process works on.
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
