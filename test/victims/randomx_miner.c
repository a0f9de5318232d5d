// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Computes RandomX hashes until it is killed, as a miner does. It opens no socket and has
 * no name, option or text of a miner.
 *
 *   randomx_miner THREADS light|fast jit|secure|interpreter [MILLISECONDS]
 *
 * It prints "mining" when it begins. With MILLISECONDS, it replaces itself by a child at
 * that interval.
 */
#include <pthread.h>
#include <randomx.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static randomx_flags flags;
static randomx_cache *cache;
static randomx_dataset *dataset;

static void *hash(void *unused)
{
	randomx_vm *vm = randomx_create_vm(flags, cache, dataset);
	char in[76] = {0}, out[32];

	if (!vm)
		exit(1);
	for (unsigned long nonce = 0;; nonce++) {
		memcpy(in, &nonce, sizeof nonce);
		randomx_calculate_hash(vm, in, sizeof in, out);
	}
	return unused;
}

int main(int argc, char **argv)
{
	if (argc < 4)
		return 2;
	int threads = atoi(argv[1]);
	int fast = !strcmp(argv[2], "fast");
	int pause = argc > 4 ? atoi(argv[4]) : 0;

	flags = randomx_get_flags();
	if (!strcmp(argv[3], "interpreter"))
		flags &= ~RANDOMX_FLAG_JIT;
	else
		flags |= RANDOMX_FLAG_JIT;
	if (!strcmp(argv[3], "secure"))
		flags |= RANDOMX_FLAG_SECURE;

	cache = randomx_alloc_cache(flags);
	if (!cache)
		return 1;
	randomx_init_cache(cache, "key", 3);
	if (fast) {
		/* A part of the dataset is enough: wrong hashes take as long. */
		dataset = randomx_alloc_dataset(flags);
		if (!dataset)
			return 1;
		randomx_init_dataset(dataset, cache, 0, 10000);
		randomx_release_cache(cache);
		cache = NULL;
		flags |= RANDOMX_FLAG_FULL_MEM;
	}

	puts("mining");
	fflush(stdout);
	for (;;) {
		pthread_t thread;

		for (int i = 0; i < threads; i++)
			if (pthread_create(&thread, NULL, hash, NULL))
				return 1;
		if (!pause)
			pthread_join(thread, NULL);
		usleep(pause * 1000);
		if (fork())
			_exit(0);
	}
}
