// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * set_title WAY [ARGUMENT...] writes each line of its standard input over its arguments,
 * as servers do to show their state, and then prints "done":
 *
 *   postgres: over arguments and environment, filled up with NULs, all pointers but the
 *             first set to the end (src/backend/utils/misc/ps_status.c)
 *   nginx:    the same, argv[1] set to NULL (src/os/unix/ngx_setproctitle.c)
 *   sshd:     the same, the pointers as they were (openbsd-compat/setproctitle.c)
 *
 * These ignore the line and leave the arguments of the exec visible:
 *
 *   permute:  reverses the pointers after argv[0], as getopt_long may
 *   hide:     makes the last argument "x" and NULs, as miners hide passwords
 *   none:     does nothing
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

int main(int argc, char **argv)
{
	static char line[1 << 16];
	char *area = argv[0], *last, *end;

	if (argc < 2)
		return 2;
	last = argv[argc - 1];
	end = last + strlen(last) + 1;
	for (char **e = environ; *e == end; e++)
		end += strlen(end) + 1;
	if (!strcmp(argv[1], "permute")) {
		for (int i = 1, j = argc - 1; i < j; i++, j--) {
			char *other = argv[i];

			argv[i] = argv[j];
			argv[j] = other;
		}
		area = NULL;
	} else if (!strcmp(argv[1], "hide")) {
		*last++ = 'x';
		while (*last)
			*last++ = 0;
		area = NULL;
	} else if (!strcmp(argv[1], "none")) {
		area = NULL;
	} else if (!strcmp(argv[1], "postgres")) {
		for (int i = 1; i < argc; i++)
			argv[i] = end - 1;
	} else if (!strcmp(argv[1], "nginx")) {
		argv[1] = NULL;
	} else if (strcmp(argv[1], "sshd")) {
		return 2;
	}
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = 0;
		if (area) {
			strncpy(area, line, end - area - 1);
			end[-1] = 0;
		}
		puts("done");
		fflush(stdout);
	}
	return 0;
}
