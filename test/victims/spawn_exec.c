// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Executes argv[1] with the arguments argv[1..] in a child made by posix_spawn.
 * Ends with the child's exit status, or 128 and the signal that killed it, as a
 * shell does.
 */
#include <spawn.h>
#include <sys/wait.h>

extern char **environ;

int main(int argc, char **argv)
{
	int status;
	pid_t child;

	if (argc < 2)
		return 2;
	if (posix_spawn(&child, argv[1], NULL, NULL, argv + 1, environ))
		return 127;
	if (waitpid(child, &status, 0) != child)
		return 2;
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
