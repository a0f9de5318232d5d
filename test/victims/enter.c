// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * enter CGROUP FILE: reads arguments from FILE, each ended by a NUL, enters the cgroup in the directory CGROUP,
 * and executes them. So what it holds itself is charged to the cgroup that it came from. Creates FILE.failed if
 * the exec fails.
 */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_ARGUMENTS 100

int main(int argc, char **argv)
{
	char *arguments[MAX_ARGUMENTS + 1] = {NULL}, name[PATH_MAX], *text, *at;
	struct stat st;
	FILE *procs;
	int in;

	if (argc != 3)
		return 2;
	in = open(argv[2], O_RDONLY | O_CLOEXEC);
	if (in < 0 || fstat(in, &st))
		return 2;
	text = malloc(st.st_size);
	if (!text || read(in, text, st.st_size) != st.st_size)
		return 2;
	at = text;
	for (int i = 0; i < MAX_ARGUMENTS && at < text + st.st_size; i++) {
		arguments[i] = at;
		at += strlen(at) + 1;
	}
	snprintf(name, sizeof(name), "%s/cgroup.procs", argv[1]);
	procs = fopen(name, "we");
	if (!procs || fprintf(procs, "%d\n", getpid()) < 0 || fclose(procs))
		return 2;
	execv(arguments[0], arguments);
	snprintf(name, sizeof(name), "%s.failed", argv[2]);
	return creat(name, 0600) < 0 ? 2 : 1;
}
