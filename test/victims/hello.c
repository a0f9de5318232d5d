// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The least program whose run can be seen: prints "ran" and the number of its
 * arguments, argv[0] included. Built with -m32 it is the 32-bit program.
 */
#include <stdio.h>

int main(int argc, char **argv)
{
	(void)argv;
	printf("ran %d\n", argc);
	return 0;
}
