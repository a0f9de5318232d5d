// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Prints "ran" and the number of its arguments, argv[0] included. Built with -m32 it is
 * the 32-bit program of the tests.
 */
#include <stdio.h>

int main(int argc, char **argv)
{
	(void)argv;
	printf("ran %d\n", argc);
	return 0;
}
