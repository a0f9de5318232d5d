// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Holds a process on its way to another program until the end of the standard input, and
 * prints "held" when it is there:
 *
 *   trace PROGRAM   prints the id of a child, which executes the program with a line of input
 *                   as its argument, and holds it as its tracer, at the end of the exec
 *   hang FILE       mounts a file system in user space (FUSE) on the file, for itself alone,
 *                   and executes it: no read of the file is answered
 */
#define _GNU_SOURCE
#include <err.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fuse.h"

static void say(const char *line)
{
	puts(line);
	fflush(stdout);
}

static int trace(char *program)
{
	char line[100] = "";
	int status;
	pid_t child = fork();

	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		if (read(0, line, sizeof(line) - 1) > 0)
			execl(program, program, strtok(line, "\n"), NULL);
		_exit(127);
	}
	if (waitpid(child, &status, 0) != child || ptrace(PTRACE_SETOPTIONS, child, 0, PTRACE_O_TRACEEXEC))
		err(2, "tracing");
	printf("%d\n", child);
	fflush(stdout);
	if (ptrace(PTRACE_CONT, child, 0, 0) || waitpid(child, &status, 0) != child ||
	    status >> 8 != (SIGTRAP | PTRACE_EVENT_EXEC << 8))
		errx(2, "not held");
	say("held");
	while (read(0, line, 1) > 0)
		;
	kill(child, SIGKILL);
	return 0;
}

static void serve(int fuse)
{
	static _Alignas(8) char request[FUSE_MIN_READ_BUFFER];
	struct pollfd any[] = {{.fd = fuse, .events = POLLIN}, {.fd = 0, .events = POLLIN}};

	while (poll(any, 2, -1) > 0 && !any[1].revents && read(fuse, request, sizeof(request)) > 0)
		if (!fuse_answer_alone(fuse, (void *)request, 0755))
			say("held");
}

static int hang(char *file)
{
	int fuse = fuse_open();

	fuse_mount_alone(fuse, file);
	if (fork() == 0) {
		serve(fuse);
		_exit(0);
	}
	close(fuse);
	execl(file, file, NULL);
	return 1;
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "trace"))
		return trace(argv[2]);
	if (argc == 3 && !strcmp(argv[1], "hang"))
		return hang(argv[2]);
	return 2;
}
