// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Executes argv[2] with the arguments argv[2..] in a child whose pid is
 * argv[1], a number that no process has, as when pids are reused. Ends with the child's
 * exit status as a shell does; the child is killed when this program ends. Needs
 * CAP_SYS_ADMIN.
 */
#define _GNU_SOURCE
#include <linux/sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int status;
	pid_t pid;
	struct clone_args args = {
		.exit_signal = SIGCHLD,
		.set_tid = (uintptr_t)&pid,
		.set_tid_size = 1,
	};

	if (argc < 3)
		return 2;
	pid = atoi(argv[1]);
	switch (syscall(SYS_clone3, &args, sizeof(args))) {
	case -1:
		perror("with_pid");
		return 2;
	case 0:
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execv(argv[2], argv + 2);
		_exit(127);
	}
	if (waitpid(pid, &status, 0) != pid)
		return 2;
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
