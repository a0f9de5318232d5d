// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Executes the program argv[1] with its path as argv[0] and the path of this program as
 * the argument. Two copies of this program execute each other endlessly.
 */
#include <unistd.h>

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	execl(argv[1], argv[1], argv[0], NULL);
	return 127;
}
