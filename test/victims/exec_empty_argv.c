// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Executes argv[1] with no arguments at all, not even argv[0]. Linux 5.18 and
 * later put one empty string there.
 */
#include <unistd.h>

int main(int argc, char **argv)
{
	char *volatile none[] = {NULL};

	if (argc < 2)
		return 2;
	execve(argv[1], (char **)none, (char **)none);
	return 127;
}
