// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Executes argv[1] with the arguments argv[1..] in a child that shares this
 * program's memory, while this program continues. Ends with the child's exit status,
 * or 128 and the signal that killed it, as a shell does.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static _Alignas(16) char stack[1 << 16];

static int run(void *argv)
{
	execv(*(char **)argv, argv);
	_exit(127);
}

int main(int argc, char **argv)
{
	int status;
	pid_t child;

	if (argc < 2)
		return 2;
	child = clone(run, stack + sizeof(stack), CLONE_VM | SIGCHLD, argv + 1);
	if (child < 0 || waitpid(child, &status, 0) != child)
		return 2;
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
