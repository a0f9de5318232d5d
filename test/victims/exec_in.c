// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Executes argv[2] with the arguments argv[2..] in new namespaces, by the letters of
 * argv[1]:
 *
 *   u  user, as root in it          m  mount
 *   p  PID, as its init             t  time
 *   i  with all signals ignored
 *   r  with the directory $ROOT as its root
 *
 * Ends with the child's exit status as a shell does.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif

static void map(const char *file, unsigned int id)
{
	char text[32];
	int length = snprintf(text, sizeof(text), "0 %u 1", id), fd = open(file, O_WRONLY);

	if (fd < 0 || write(fd, text, length) != length)
		err(2, "writing %s", file);
	close(fd);
}

int main(int argc, char **argv)
{
	unsigned int uid = getuid(), gid = getgid();
	int flags = 0, status, fd;
	pid_t child;

	if (argc < 3)
		return 2;
	flags |= strchr(argv[1], 'u') ? CLONE_NEWUSER : 0;
	flags |= strchr(argv[1], 'm') ? CLONE_NEWNS : 0;
	flags |= strchr(argv[1], 'p') ? CLONE_NEWPID : 0;
	flags |= strchr(argv[1], 't') ? CLONE_NEWTIME : 0;
	if (unshare(flags))
		err(2, "unsharing");
	if (flags & CLONE_NEWUSER) {
		fd = open("/proc/self/setgroups", O_WRONLY);
		if (fd < 0 || write(fd, "deny", 4) != 4)
			err(2, "denying setgroups");
		close(fd);
		map("/proc/self/uid_map", uid);
		map("/proc/self/gid_map", gid);
	}
	child = fork();
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (int i = 1; i < 65 && strchr(argv[1], 'i'); i++)
			signal(i, SIG_IGN);
		if (strchr(argv[1], 'r') && (chroot(getenv("ROOT")) || chdir("/")))
			err(2, "changing the root");
		execv(argv[2], argv + 2);
		_exit(127);
	}
	if (child < 0 || waitpid(child, &status, 0) != child)
		return 2;
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
