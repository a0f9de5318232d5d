// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Executes argv[2] with the arguments argv[2..] in a child, and tries to keep the child
 * alive:
 *
 *   trace   traces it with PTRACE_O_TRACEEXEC and PTRACE_O_TRACEEXIT, and continues
 *           it at each stop without the signal
 *   stop    stops and continues it continuously
 *
 * Ends with the child's exit status as a shell does.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int trace, status;
	pid_t child, stopper = 0;

	if (argc < 3)
		return 2;
	trace = !strcmp(argv[1], "trace");
	child = fork();
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (trace)
			ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		execv(argv[2], argv + 2);
		_exit(127);
	}
	if (waitpid(child, &status, WUNTRACED) != child)
		return 2;
	if (trace) {
		if (ptrace(PTRACE_SETOPTIONS, child, 0, PTRACE_O_TRACEEXEC | PTRACE_O_TRACEEXIT) ||
		    ptrace(PTRACE_CONT, child, 0, 0))
			return 2;
	} else {
		stopper = fork();
		if (stopper == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			while (!kill(child, SIGSTOP))
				kill(child, SIGCONT);
			_exit(0);
		}
	}
	if (!trace)
		kill(child, SIGCONT);
	while (waitpid(child, &status, 0) == child && WIFSTOPPED(status))
		ptrace(PTRACE_CONT, child, 0, 0);
	if (stopper)
		kill(stopper, SIGKILL);
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
