// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A server that runs code of users in forks: it shows a title, and its child, as user
 * 65534, writes the word on standard input over the argument argv[1], of the same length,
 * so that the memory looks as after an exec. Prints "ready" and the pid of the child.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	char word[256] = "";
	int ready[2];
	pid_t child;
	char byte;

	if (argc != 2 || !fgets(word, sizeof(word), stdin) || pipe(ready))
		return 2;
	word[strcspn(word, "\n")] = 0;
	if (strlen(word) != strlen(argv[1]))
		return 2;
	child = fork();
	if (child < 0)
		return 2;
	if (!child) {
		if (setuid(65534))
			return 2;
		strcpy(argv[1], word);
		if (write(ready[1], "x", 1) != 1)
			return 2;
	} else {
		memset(argv[0], 'm', strlen(argv[0]) + 1);
		if (read(ready[0], &byte, 1) != 1)
			return 2;
		printf("ready %d\n", child);
		fflush(stdout);
	}
	for (;;)
		pause();
}
