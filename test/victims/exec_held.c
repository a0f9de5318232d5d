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
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

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

static void answer(int fuse, uint64_t request, int error, void *data, size_t size)
{
	struct fuse_out_header header = {
		.len = sizeof(header) + size,
		.error = error,
		.unique = request,
	};
	struct iovec parts[] = {{&header, sizeof(header)}, {data, size}};

	if (writev(fuse, parts, 2) < 0)
		err(2, "answering a request");
}

static void serve(int fuse)
{
	static _Alignas(8) char request[FUSE_MIN_READ_BUFFER];
	struct fuse_in_header *in = (void *)request;
	struct fuse_init_out init = {.major = 7, .minor = 31, .max_write = 4096};
	struct fuse_attr_out attr = {.attr = {.ino = 1, .size = 1 << 20, .mode = S_IFREG | 0755, .nlink = 1}};
	struct fuse_open_out opened = {0};
	struct pollfd any[] = {{.fd = fuse, .events = POLLIN}, {.fd = 0, .events = POLLIN}};

	while (poll(any, 2, -1) > 0 && !any[1].revents && read(fuse, request, sizeof(request)) > 0) {
		if (in->opcode == FUSE_INIT)
			answer(fuse, in->unique, 0, &init, sizeof(init));
		else if (in->opcode == FUSE_GETATTR)
			answer(fuse, in->unique, 0, &attr, sizeof(attr));
		else if (in->opcode == FUSE_OPEN)
			answer(fuse, in->unique, 0, &opened, sizeof(opened));
		else if (in->opcode == FUSE_READ)
			say("held");
		else
			answer(fuse, in->unique, -ENOSYS, NULL, 0);
	}
}

static int hang(char *file)
{
	int fuse = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	char options[100];

	if (fuse < 0)
		err(2, "opening /dev/fuse");
	snprintf(options, sizeof(options), "fd=%d,rootmode=100755,user_id=%d,group_id=%d", fuse, getuid(), getgid());
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("hang", file, "fuse", MS_NOSUID | MS_NODEV, options))
		err(2, "mounting");
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
