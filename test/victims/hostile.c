// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Computes until it is killed, and makes it difficult to examine it:
 *   hostile maps N         has N mappings
 *   hostile files N        executes N files, of a page each, and computes in none of them
 *   hostile remap          maps and unmaps executable memory all the time
 *   hostile sparse FILE    executes a file of 100 GB, which it makes
 *   hostile fork           does it in one process after the other, each for a fiftieth of a second
 * Prints "ran" first. hostile_words.c is the same with the words of a miner.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifdef WORDS
const char *const words[] = {
	"mining.subscribe",	 "mining.authorize", "mining.notify", "mining.submit",
	"mining.set_difficulty", "yespower",	     "verushash",     "ghostrider",
};
#define HAS_WORDS words[0]
#else
#define HAS_WORDS ""
#endif

static volatile uint64_t result;

/* Computes for this many seconds of CPU time, 0 for ever. */
static void compute(double seconds)
{
	uint64_t x = 1;

	do {
		for (int i = 0; i < 1 << 20; i++) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
		}
		result = x;
	} while (!seconds || clock() < seconds * CLOCKS_PER_SEC);
}

static int many(long n)
{
	size_t page = sysconf(_SC_PAGESIZE);
	char *area = mmap(NULL, n * page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (area == MAP_FAILED)
		return -1;
	/* Neighbours with different permissions are not merged. */
	for (long i = 0; i < n; i += 2)
		if (mprotect(area + i * page, page, PROT_READ | PROT_EXEC))
			return -1;
	return 0;
}

static int files(long n)
{
	size_t page = sysconf(_SC_PAGESIZE);

	for (long i = 0; i < n; i++) {
		int file = memfd_create("hostile", MFD_CLOEXEC);

		if (file < 0 || ftruncate(file, page) ||
		    mmap(NULL, page, PROT_READ | PROT_EXEC, MAP_PRIVATE, file, 0) == MAP_FAILED)
			return -1;
		close(file);
	}
	return 0;
}

/* Computes in executable memory without a file. */
static void compute_in_memory(void)
{
#ifdef __aarch64__
	const uint32_t loop = 0x14000000; /* b . */
#else
	const uint16_t loop = 0xfeeb; /* jmp . */
#endif
	void *at = mmap(NULL, sizeof(loop), PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		_exit(2);
	memcpy(at, &loop, sizeof(loop));
	__builtin___clear_cache(at, (char *)at + sizeof(loop));
	((void (*)(void))at)();
}

static void *remap(void *unused)
{
	(void)unused;
	for (;;) {
		void *at = mmap(NULL, 1 << 20, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (at != MAP_FAILED)
			munmap(at, 1 << 20);
	}
	return NULL;
}

static int sparse(const char *path)
{
	const off_t size = (off_t)100 << 30;
	int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0700);

	if (file < 0 || ftruncate(file, size))
		return -1;
	return mmap(NULL, size, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_NORESERVE, file, 0) == MAP_FAILED;
}

int main(int argc, char **argv)
{
	const char *how = argc > 1 ? argv[1] : "";
	pthread_t thread;
	int failed = 0;

	if (!strcmp(how, "maps") && argc == 3)
		failed = many(atol(argv[2]));
	else if (!strcmp(how, "files") && argc == 3)
		failed = files(atol(argv[2]));
	else if (!strcmp(how, "remap"))
		failed = pthread_create(&thread, NULL, remap, NULL);
	else if (!strcmp(how, "sparse") && argc == 3)
		failed = sparse(argv[2]);
	else if (strcmp(how, "fork"))
		failed = *HAS_WORDS != 1; /* so that the words stay */
	if (failed || write(1, "ran\n", 4) != 4)
		return 2;
	while (!strcmp(how, "fork")) {
		if (!fork()) {
			compute(0.02);
			return 0;
		}
		wait(NULL);
	}
	if (!strcmp(how, "files"))
		compute_in_memory();
	compute(0);
}
