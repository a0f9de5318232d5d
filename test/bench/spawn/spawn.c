// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * spawn COUNT ARG...: executes itself COUNT times, one after the other, with
 * ARG... as argv and with its own environment, and prints the total time in nanoseconds. If argv[0] is not "spawn", it
 * is the executed program and ends at once.
 *
 * Both run on one CPU, and the child is created by vfork, to measure little else than the
 * exec.
 */
#define _GNU_SOURCE
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

/* Executes path in a child and waits for its end. */
static bool execute(const char *path, char **argv)
{
	pid_t child = vfork();
	int status;

	if (child == 0) {
		execve(path, argv, environ);
		_exit(127);
	}
	return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

int main(int argc, char **argv)
{
	char path[4096] = "";
	long long start;
	cpu_set_t cpus;

	if (argc < 3 || strcmp(argv[0], "spawn"))
		return 0;
	if (readlink("/proc/self/exe", path, sizeof(path) - 1) < 0)
		return 1;
	CPU_ZERO(&cpus);
	CPU_SET(sched_getcpu(), &cpus);
	if (sched_setaffinity(0, sizeof(cpus), &cpus))
		return 1;
	start = now();
	for (int i = atoi(argv[1]); i > 0; i--)
		if (!execute(path, argv + 2))
			return 1;
	printf("%lld\n", now() - start);
	return 0;
}
