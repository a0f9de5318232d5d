// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Executes the program argv[1] with its path as its name and our own as the
 * argument. Two copies of this program execute each other for ever.
 */
#include <unistd.h>

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	execl(argv[1], argv[1], argv[0], NULL);
	return 127;
}
