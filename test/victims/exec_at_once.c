// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Executes itself from argv[1] processes at the same time, as a program that does nothing.
 * Their arguments are the second line of standard input, argv[2] times, and then the word
 * on the first line, or "honest" in every third process. One with the word that runs
 * prints "ran". At the end it prints four numbers: how many of those with the word were
 * killed and how many lived, and the same of the others.
 */
#include <err.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char *line(void)
{
	char *text = NULL;
	size_t size = 0;

	if (getline(&text, &size, stdin) < 0)
		errx(2, "standard input has ended");
	text[strcspn(text, "\n")] = 0;
	return text;
}

int main(int argc, char **argv)
{
	int n, times, status, start[2], fates[2][2] = {};
	char *word, *text, **args;
	pid_t *children;

	if (getenv("AT_ONCE")) {
		if (strcmp(argv[argc - 1], "honest"))
			puts("ran");
		return 0;
	}
	if (argc != 3 || setenv("AT_ONCE", "1", 1) || pipe(start))
		return 2;
	n = atoi(argv[1]);
	times = atoi(argv[2]);
	word = line();
	text = line();
	children = calloc(n, sizeof(*children));
	args = calloc(times + 3, sizeof(*args));
	args[0] = argv[0];
	for (int i = 1; i <= times; i++)
		args[i] = text;
	for (int i = 0; i < n; i++) {
		args[times + 1] = i % 3 ? word : "honest";
		children[i] = fork();
		if (children[i] < 0)
			err(2, "fork");
		if (children[i])
			continue;
		close(start[1]);
		if (read(start[0], &status, 1) == 0)
			execv("/proc/self/exe", args);
		_exit(127);
	}
	close(start[1]);
	for (int i = 0; i < n; i++) {
		if (waitpid(children[i], &status, 0) != children[i])
			err(2, "waitpid");
		if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
			fates[i % 3 == 0][0]++;
		else if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
			fates[i % 3 == 0][1]++;
		else
			errx(2, "a program ended with status %#x", status);
	}
	printf("%d %d %d %d\n", fates[0][0], fates[0][1], fates[1][0], fates[1][1]);
	return 0;
}
