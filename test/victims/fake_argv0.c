// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Executes the program argv[1] with argv[2] as its argv[0] and the arguments argv[3..].
 */
#include <unistd.h>

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	execv(argv[1], argv + 2);
	return 127;
}
