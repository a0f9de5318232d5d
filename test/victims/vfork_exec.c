// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Executes argv[1] with the arguments argv[1..] in a child made by vfork, which
 * shares this program's memory until then. Ends with the child's exit status,
 * or 128 and the signal that killed it, as a shell does.
 */
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int status;
	pid_t child;

	if (argc < 2)
		return 2;
	child = vfork();
	if (child == 0) {
		execv(argv[1], argv + 1);
		_exit(127);
	}
	if (child < 0 || waitpid(child, &status, 0) != child)
		return 2;
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
