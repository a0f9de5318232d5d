// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * borrowed_number FILE: on an overlayfs, has a file of the lower directory as its program, and
 * computes with the copy of it mapped that overlayfs makes at the first change. stat shows both
 * with the same device, inode number, size and modification time, but the copy has the words of a
 * miner. Prints "computes", or an error.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char words[] = "mining.subscribe mining.authorize mining.notify mining.submit "
			    "mining.set_difficulty yespower verushash ghostrider";

static void fail(const char *what)
{
	printf("%s: %m\n", what);
	exit(1);
}

#ifdef __x86_64__
static inline long call(long number, long a, long b, long c, long d4)
{
	register long d __asm__("r10") = d4, e __asm__("r8") = 0;

	__asm__ volatile("syscall" : "+a"(number) : "D"(a), "S"(b), "d"(c), "r"(d), "r"(e) : "rcx", "r11", "memory");
	return number;
}
#else
static inline long call(long number, long a, long b, long c, long d)
{
	register long n __asm__("x8") = number, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c,
			x3 __asm__("x3") = d, x4 __asm__("x4") = 0;

	__asm__ volatile("svc 0" : "+r"(x0) : "r"(n), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
	return x0;
}
#endif

struct task {
	struct prctl_mm_map map;
	uintptr_t from, to; /* of this program's file in memory */
	char computes[16];
};

/* Runs from a copy in anonymous memory: another program file can be set only once this one is no
 * longer mapped. */
static __attribute__((noinline, optimize("O1"))) void run(struct task *t)
{
	call(SYS_munmap, t->from, t->to - t->from, 0, 0);
	if (call(SYS_prctl, PR_SET_MM, PR_SET_MM_MAP, (long)&t->map, sizeof(t->map)))
		call(SYS_exit_group, 1, 0, 0, 0);
	call(SYS_write, 1, (long)t->computes, 9, 0);
	for (volatile unsigned long i = 0;; i++)
		;
}

static void find_self(struct task *t)
{
	char line[8192], self[4096] = "";
	FILE *maps = fopen("/proc/self/maps", "re");

	if (!maps || readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
		fail("maps");
	while (fgets(line, sizeof(line), maps)) {
		unsigned long from, to;

		if (!strstr(line, self) || sscanf(line, "%lx-%lx", &from, &to) != 2)
			continue;
		if (!t->from)
			t->from = from;
		t->to = to;
	}
	fclose(maps);
}

int main(int argc, char **argv)
{
	size_t size = 1 << 16;
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct task *t = (struct task *)memory;
	struct timespec times[2];
	uintptr_t at;
	struct stat st;
	int program, copy;

	setbuf(stdout, NULL);
	if (argc != 2 || memory == MAP_FAILED)
		return 2;
	program = open(argv[1], O_RDONLY | O_CLOEXEC);
	if (program < 0 || fstat(program, &st) || chmod(argv[1], 0700))
		fail("copying");
	times[0] = times[1] = st.st_mtim;
	copy = open(argv[1], O_RDWR | O_CLOEXEC);
	if (copy < 0 || write(copy, words, sizeof(words)) != sizeof(words) || futimens(copy, times) || close(copy))
		fail("writing");
	copy = open(argv[1], O_RDONLY | O_CLOEXEC);
	if (copy < 0 || mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, copy, 0) == MAP_FAILED)
		fail("mapping");
	find_self(t);
	at = (uintptr_t)memory;
	t->map = (struct prctl_mm_map){
		.start_code = at,
		.end_code = at + 1,
		.start_data = at,
		.end_data = at + 1,
		.start_brk = at + 2,
		.brk = at + 3,
		.start_stack = at,
		.arg_start = at,
		.arg_end = at + 1,
		.env_start = at,
		.env_end = at + 1,
		.exe_fd = program,
	};
	strcpy(t->computes, "computes\n");
	memcpy(memory + 4096, run, 4096);
	__builtin___clear_cache(memory + 4096, memory + 8192);
	((void (*)(struct task *))(memory + 4096))(t);
}
