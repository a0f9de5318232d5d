// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Executes itself argv[2] times from argv[1] processes at the same time, as a program that
 * does nothing, and waits for each. Every argv[3]th time the only argument is the word on
 * standard input, otherwise "honest". Prints four numbers: how many of those with the word
 * were killed and how many lived, and the same of the others.
 */
#include <err.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* Shared by all processes. */
struct fates {
	int killed;
	int lived;
};

static int run(char *argument)
{
	char *argv[] = {"storm", argument, NULL};
	int status;
	pid_t child = vfork();

	if (child == 0) {
		execv("/proc/self/exe", argv);
		_exit(127);
	}
	if (child < 0 || waitpid(child, &status, 0) != child)
		err(2, "running a program");
	return status;
}

static void count(struct fates *fates, int status)
{
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
		__atomic_fetch_add(&fates->killed, 1, __ATOMIC_RELAXED);
	else if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		__atomic_fetch_add(&fates->lived, 1, __ATOMIC_RELAXED);
	else
		errx(2, "a program ended with status %#x", status);
}

int main(int argc, char **argv)
{
	static char word[100];
	struct fates *banned, *honest;
	int workers, execs, every, status;

	if (argc == 2)
		return 0;
	if (argc != 4 || !fgets(word, sizeof(word), stdin))
		return 2;
	word[strcspn(word, "\n")] = 0;
	workers = atoi(argv[1]);
	execs = atoi(argv[2]);
	every = atoi(argv[3]);
	banned = mmap(NULL, 2 * sizeof(*banned), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (banned == MAP_FAILED)
		err(2, "sharing the counters");
	honest = banned + 1;

	for (int i = 0; i < workers; i++) {
		if (fork())
			continue;
		for (int n = execs * i / workers; n < execs * (i + 1) / workers; n++) {
			if (n % every == 0)
				count(banned, run(word));
			else
				count(honest, run("honest"));
		}
		return 0;
	}
	while (wait(&status) > 0)
		if (status)
			errx(2, "a worker ended with status %#x", status);
	printf("%d %d %d %d\n", banned->killed, banned->lived, honest->killed, honest->lived);
	return 0;
}
