// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Overwrites its command line: reads a line from standard input and writes it over its
 * argument area, each space as the NUL that ends an argument. Then waits for the end of the
 * input. The area does not grow, so start it with arguments at least as long as the line.
 */
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
	static char line[1 << 16];
	char *last = argv[argc - 1];
	size_t area = last + strlen(last) - argv[0], len;

	if (!fgets(line, sizeof(line), stdin))
		return 2;
	len = strcspn(line, "\n");
	if (len > area)
		return 2;
	memset(argv[0], 0, area);
	for (size_t i = 0; i < len; i++)
		argv[0][i] = line[i] == ' ' ? 0 : line[i];
	while (getchar() != EOF)
		;
	return 0;
}
