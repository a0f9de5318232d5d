// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Executes the program argv[1] under the name argv[2], with the arguments
 * argv[3..]: argv[0] is whatever the caller likes.
 */
#include <unistd.h>

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	execv(argv[1], argv + 2);
	return 127;
}
