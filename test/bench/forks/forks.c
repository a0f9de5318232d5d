// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * forks COUNT process|thread: creates COUNT processes or threads that end at once, waits
 * for each, and prints the total time in nanoseconds. All run on one CPU.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static bool process(void)
{
	pid_t child = fork();
	int status;

	if (child == 0)
		_exit(0);
	return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

static void *nothing(void *argument)
{
	return argument;
}

static bool thread(void)
{
	pthread_t id;

	return !pthread_create(&id, NULL, nothing, NULL) && !pthread_join(id, NULL);
}

int main(int argc, char **argv)
{
	long long start;
	bool threads;
	cpu_set_t cpus;

	if (argc != 3)
		return 1;
	threads = !strcmp(argv[2], "thread");
	CPU_ZERO(&cpus);
	CPU_SET(sched_getcpu(), &cpus);
	if (sched_setaffinity(0, sizeof(cpus), &cpus))
		return 1;
	start = now();
	for (int i = atoi(argv[1]); i > 0; i--)
		if (!(threads ? thread() : process()))
			return 1;
	printf("%lld\n", now() - start);
	return 0;
}
