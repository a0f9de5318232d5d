// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Wakes up once in a millisecond for argv[1] seconds, on each CPU, with the highest
 * priority of ordinary threads, and prints its maximum delay in microseconds. Needs
 * CAP_SYS_NICE.
 */
#define _GNU_SOURCE
#include <err.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static long seconds, latest;

static int64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000) + t.tv_nsec / 1000;
}

static void *watch(void *cpu)
{
	struct sched_param highest = {.sched_priority = sched_get_priority_max(SCHED_FIFO)};
	int64_t end = now() + seconds * 1000000;
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET((intptr_t)cpu, &one);
	if (sched_setaffinity(0, sizeof(one), &one) || sched_setscheduler(0, SCHED_FIFO, &highest))
		err(2, "becoming a thread of real time");
	while (now() < end) {
		int64_t due = now() + 1000;
		struct timespec t = {.tv_sec = due / 1000000, .tv_nsec = due % 1000000 * 1000};
		long late, before = __atomic_load_n(&latest, __ATOMIC_RELAXED);

		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
		late = now() - due;
		while (late > before &&
		       !__atomic_compare_exchange_n(&latest, &before, late, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
			;
	}
	return NULL;
}

int main(int argc, char **argv)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	pthread_t threads[cpus];

	if (argc != 2)
		return 2;
	seconds = atol(argv[1]);
	for (intptr_t i = 0; i < cpus; i++)
		if (pthread_create(&threads[i], NULL, watch, (void *)i))
			return 2;
	for (long i = 0; i < cpus; i++)
		pthread_join(threads[i], NULL);
	printf("%ld\n", latest);
	return 0;
}
