// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * counts WORKERS COUNT LIMIT: each of WORKERS processes executes itself COUNT times, one after the
 * other, with the variable WORD as an argument, which its own command line has not. What it executes computes double
 * SHA-256, as a miner does, for LIMIT microseconds, and then ends by itself. For each, a line has the nanoseconds from
 * the call of execve to its end as its parent sees it, the hashes that it has computed, and 1 if SIGKILL has ended it,
 * 0 otherwise.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SHARED 3 /* descriptor of the memory that a victim shares with its parent */

struct shared {
	uint64_t began; /* when execve was called */
	uint64_t hashes;
};

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

static const uint32_t k[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t turn(uint32_t x, int n)
{
	return x >> n | x << (32 - n);
}

/* One block of SHA-256, into the state h. */
static void compress(uint32_t h[8], const uint32_t block[16])
{
	uint32_t w[64], s[8];

	memcpy(w, block, 64);
	for (int i = 16; i < 64; i++)
		w[i] = w[i - 16] + (turn(w[i - 15], 7) ^ turn(w[i - 15], 18) ^ w[i - 15] >> 3) + w[i - 7] +
		       (turn(w[i - 2], 17) ^ turn(w[i - 2], 19) ^ w[i - 2] >> 10);
	memcpy(s, h, sizeof(s));
	for (int i = 0; i < 64; i++) {
		uint32_t a = s[7] + (turn(s[4], 6) ^ turn(s[4], 11) ^ turn(s[4], 25)) +
			     ((s[4] & s[5]) ^ (~s[4] & s[6])) + k[i] + w[i];
		uint32_t b = (turn(s[0], 2) ^ turn(s[0], 13) ^ turn(s[0], 22)) +
			     ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));

		memmove(s + 1, s, 7 * sizeof(s[0]));
		s[4] += a;
		s[0] = a + b;
	}
	for (int i = 0; i < 8; i++)
		h[i] += s[i];
}

/* The victim. */
static int mine(uint64_t limit)
{
	struct shared *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED, SHARED, 0);
	uint32_t block[16] = {0}, h[8];
	uint64_t end = now() + limit * 1000;

	if (shared == MAP_FAILED)
		return 1;
	while (now() < end) {
		block[0]++;
		for (int twice = 0; twice < 2; twice++) {
			memset(h, 0x6a, sizeof(h));
			compress(h, block);
			memcpy(block + 1, h, sizeof(h));
		}
		*(volatile uint64_t *)&shared->hashes += 1;
	}
	return 0;
}

/* Executes the program COUNT times with argv. */
static int work(const char *program, int count, char **argv)
{
	char *none[] = {NULL};
	int fd = memfd_create("counts", 0);
	struct shared *shared;

	if (fd < 0 || ftruncate(fd, sizeof(*shared)) || (fd != SHARED && dup2(fd, SHARED) < 0))
		return 1;
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED, SHARED, 0);
	if (shared == MAP_FAILED)
		return 1;
	for (; count > 0; count--) {
		char line[64];
		pid_t child;
		int status, n;

		shared->hashes = 0;
		child = fork();
		if (child == 0) {
			shared->began = now();
			execve(program, argv, none);
			_exit(127);
		}
		if (child < 0 || waitpid(child, &status, 0) != child || (WIFEXITED(status) && WEXITSTATUS(status)))
			return 1;
		n = snprintf(line, sizeof(line), "%llu %llu %d\n", (unsigned long long)(now() - shared->began),
			     (unsigned long long)shared->hashes, WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		if (write(STDOUT_FILENO, line, n) != n)
			return 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	char program[4096] = "", *word = getenv("WORD");
	char *victim[] = {"victim", NULL, NULL, NULL, word, NULL};
	int failed = 0, status;

	if (argc == 5 && !strcmp(argv[0], "victim"))
		return mine(atoll(argv[3]));
	if (argc != 4 || !word)
		return 2;
	memcpy(victim + 1, argv + 1, 3 * sizeof(*argv));
	if (readlink("/proc/self/exe", program, sizeof(program) - 1) < 0)
		return 1;
	for (int i = atoi(argv[1]); i > 0; i--)
		if (fork() == 0)
			_exit(work(program, atoi(argv[2]), victim));
	while (wait(&status) > 0)
		failed |= status != 0;
	return failed;
}
