// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Creates argv[3] cgroups below the directory argv[1], each argv[2] levels deep, and
 * immediately executes argv[4] with the arguments argv[4..] in a child in each. Does not
 * wait for descendants of the child. Prints how many children were killed, and how many
 * ended otherwise.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Creates the cgroup and returns its cgroup.procs, open for writing. */
static int make(const char *root, int number, int depth)
{
	char name[32];
	int dir = open(root, O_DIRECTORY | O_CLOEXEC), next, procs;

	snprintf(name, sizeof(name), "c%d", number);
	for (int i = 0; i < depth; i++) {
		if (dir < 0 || mkdirat(dir, name, 0755))
			err(2, "making a cgroup");
		next = openat(dir, name, O_DIRECTORY | O_CLOEXEC);
		close(dir);
		dir = next;
	}
	procs = openat(dir, "cgroup.procs", O_WRONLY | O_CLOEXEC);
	if (procs < 0)
		err(2, "opening a cgroup");
	close(dir);
	return procs;
}

int main(int argc, char **argv)
{
	int killed = 0, ended = 0, status, procs;

	if (argc < 5)
		return 2;
	for (int i = 0; i < atoi(argv[3]); i++) {
		pid_t child = fork();

		if (child == 0) {
			procs = make(argv[1], i, atoi(argv[2]));
			if (write(procs, "0", 1) != 1)
				err(2, "entering a cgroup");
			execv(argv[4], argv + 4);
			_exit(127);
		}
		if (waitpid(child, &status, 0) != child)
			return 2;
		if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
			killed++;
		else
			ended++;
	}
	printf("killed %d, ended %d\n", killed, ended);
	return 0;
}
