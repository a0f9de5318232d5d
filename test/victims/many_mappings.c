// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * many_mappings DIR LENGTH N maps a file in DIR whose path is of LENGTH bytes N times, in
 * pages that the kernel cannot join, or as often as it may, says how often in a line, and
 * sleeps. LENGTH is met but for the length of one name.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	char name[201];
	size_t length, page = sysconf(_SC_PAGESIZE);
	long n = 0, most;
	int file;

	if (argc != 4 || chdir(argv[1]))
		errx(2, "many_mappings DIR LENGTH N");
	length = atol(argv[2]);
	most = atol(argv[3]);
	memset(name, 'd', sizeof(name) - 1);
	name[sizeof(name) - 1] = 0;
	for (size_t at = strlen(argv[1]); at + 2 * sizeof(name) < length; at += sizeof(name))
		if (mkdir(name, 0700) || chdir(name))
			err(2, "making a long path");
	file = open("file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (file < 0 || ftruncate(file, 3 * page))
		err(2, "making a file");
	/* Neighbours in memory are none in the file, so they are not joined. */
	while (n < most && mmap(NULL, page, PROT_READ, MAP_PRIVATE, file, n % 2 * 2 * page) != MAP_FAILED)
		n++;
	printf("%ld\n", n);
	fflush(stdout);
	for (;;)
		pause();
}
