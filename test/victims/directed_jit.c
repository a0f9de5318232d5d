// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Behaves like the CryptoNight variants whose loop is compiled at run time: it rounds
 * upwards most of the time, in code that it writes itself.
 *
 *   directed_jit WAY [FOLDER [MAPPINGS [SECONDS]]]
 *
 * WAY is where it writes the code:
 *
 *   anonymous  anonymous memory
 *   twice      a file that is also mapped for writing
 *   memfd      a memfd, mapped before the last descriptor is closed
 *   unmapped   a file, through a mapping that is removed before the code runs
 *   written    a file that is open for writing, and written in each round
 *   reopen     the same, but open only while it is written
 *   replace    a new file for each round
 *   text       a private mapping of a file, temporarily writable
 *   mem        the same, written through /proc/self/mem
 *   library    a file that is written once, as a compiler does
 *
 * Files are in FOLDER, /tmp by default. MAPPINGS is a number of additional mappings.
 * With SECONDS, it sleeps for that time after each twentieth of it that it computes.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "loop.h"
#include "rounding.h"

#define PAGE 4096

static char file[4096];
static int fd = -1;
static void *run;

static void *check(void *mapped)
{
	if (mapped == MAP_FAILED)
		exit(1);
	return mapped;
}

static void check_io(long got, long want)
{
	if (got != want)
		exit(1);
}

static void flush(void)
{
	__builtin___clear_cache(run, (char *)run + sizeof loop);
}

/* A file of a page, open for writing. */
static void create(const char *folder)
{
	snprintf(file, sizeof file, "%s/codeXXXXXX", folder);
	fd = mkstemp(file);
	if (fd < 0 || ftruncate(fd, PAGE))
		exit(1);
}

static void map(int how)
{
	run = check(mmap(NULL, PAGE, PROT_READ | PROT_EXEC, how, fd, 0));
}

static void write_code(void)
{
	check_io(pwrite(fd, loop, sizeof loop, 0), sizeof loop);
	flush();
}

static void write_by_mapping(int last)
{
	void *memory = check(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));

	memcpy(memory, loop, sizeof loop);
	if (last && munmap(memory, PAGE))
		exit(1);
}

static void map_new_file(const char *folder)
{
	if (run)
		munmap(run, PAGE);
	create(folder);
	check_io(pwrite(fd, loop, sizeof loop, 0), sizeof loop);
	close(fd);
	fd = open(file, O_RDONLY);
	unlink(file);
	map(MAP_PRIVATE);
	close(fd);
}

static void write_text(int by_mem)
{
	if (by_mem) {
		int mem = open("/proc/self/mem", O_RDWR);

		check_io(pwrite(mem, loop, sizeof loop, (off_t)(long)run), sizeof loop);
		close(mem);
	} else {
		check_io(mprotect(run, PAGE, PROT_READ | PROT_WRITE), 0);
		memcpy(run, loop, sizeof loop);
		check_io(mprotect(run, PAGE, PROT_READ | PROT_EXEC), 0);
	}
	flush();
}

int main(int argc, char **argv)
{
	const char *way = argc > 1 ? argv[1] : "anonymous";
	const char *folder = argc > 2 ? argv[2] : "/tmp";
	volatile double sum = 0;

	for (int i = argc > 3 ? atoi(argv[3]) : 0; i > 0; i--) /* differ, so that they are not merged */
		check(mmap(NULL, PAGE, i & 1 ? PROT_READ : PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));

	if (!strcmp(way, "anonymous")) {
		run = check(mmap(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
		memcpy(run, loop, sizeof loop);
	} else if (!strcmp(way, "memfd")) {
		fd = syscall(SYS_memfd_create, "", 0);
		check_io(ftruncate(fd, PAGE), 0);
		write_by_mapping(1);
		map(MAP_PRIVATE);
	} else if (strcmp(way, "replace")) {
		create(folder);
		if (strcmp(way, "text") && strcmp(way, "mem"))
			write_by_mapping(strcmp(way, "twice"));
		if (strcmp(way, "written")) {
			close(fd);
			fd = open(file, O_RDONLY);
		}
		if (strcmp(way, "reopen"))
			unlink(file);
		map(strcmp(way, "written") ? MAP_PRIVATE : MAP_SHARED);
		if (strcmp(way, "written"))
			close(fd);
		if (!strcmp(way, "text") || !strcmp(way, "mem"))
			write_text(!strcmp(way, "mem"));
	}
	flush();

	for (int rounds = 0;; rounds++) {
		if (argc > 4 && rounds % 20 == 19)
			sleep(atoi(argv[4]));
		if (!strcmp(way, "written"))
			write_code();
		if (!strcmp(way, "reopen")) {
			fd = open(file, O_WRONLY);
			write_code();
			close(fd);
		}
		if (!strcmp(way, "replace"))
			map_new_file(folder);
		double (*add)(long, double, double) = run;

		for (int i = 0; i < 20; i++) {
			set_rounding(i < 3 ? 'n' : 'u');
			sum += add(100000, 1, 0.1);
		}
	}
}
