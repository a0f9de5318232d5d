// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Executes argv[1] with the arguments argv[1..] from a second thread after the first has
 * ended, so that /proc/PID is that of a zombie.
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void *run(void *argv)
{
	char text[4096] = "";
	FILE *f;

	while (!strstr(text, ") Z ")) { /* the first thread has ended */
		f = fopen("/proc/self/stat", "r");
		if (!f || !fgets(text, sizeof(text), f))
			_exit(2);
		fclose(f);
	}
	execv(*(char **)argv, argv);
	_exit(127);
}

int main(int argc, char **argv)
{
	pthread_t thread;

	if (argc < 2 || pthread_create(&thread, NULL, run, argv + 1))
		return 2;
	pthread_exit(NULL);
}
