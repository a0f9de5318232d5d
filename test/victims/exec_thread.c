// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Executes argv[1] with the arguments argv[1..] from a thread that is not the group
 * leader. The kernel ends the other threads and gives the caller the leader's id, so the
 * new program has the pid of another thread.
 */
#include <pthread.h>
#include <unistd.h>

static void *run(void *argv)
{
	execv(*(char **)argv, argv);
	_exit(127);
}

int main(int argc, char **argv)
{
	pthread_t thread;

	if (argc < 2 || pthread_create(&thread, NULL, run, argv + 1))
		return 2;
	while (pause())
		;
}
