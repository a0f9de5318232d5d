//go:build ignore

// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Kills a program at its exec if its file is one that the rule program has found before. User
 * space stores these files, and forgets them: see learned.go.
 */
#include "kernel.h"
#include "verdict.h"
#include "preempt.h"
#include "realfile.bpf.h"

#define LOGGED_PATH 256

/* Decoded in learnedevents.go. */
struct event {
	struct event_head head;
	struct file_id real;
	u64 number;	      /* of the learned file */
	u64 began_ns;	      /* monotonic time of the exec */
	u8 path[LOGGED_PATH]; /* as executed, with a NUL; empty if it is longer */
	u8 text[HEAD_TEXT];
};

/* Decoded in identity.go. */
struct program_file {
	struct file_id shown; /* that of the overlayfs, if it is on one */
	struct real_file real;
};

struct learned_file {
	u64 number; /* counted from 1 */
	u64 size;
	u64 modified_ns;
	u64 hit_ns; /* monotonic time of the newest exec, 0 for none */
	u64 hits;
};

const struct event *unused_event __attribute__((unused));
const struct program_file *unused_program_file __attribute__((unused));
const enum outcome *unused_outcome __attribute__((unused));

/* What an exec of a learned file comes to: BANNED, OBSERVED, or UNDECIDED if there are allow
 * patterns, which only user space can match. */
const volatile u32 found = UNDECIDED;

const volatile u32 limit_rule; /* for the kill limit */

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 18);
} learned_events SEC(".maps");

/* User space has fewer (maxLearned), but deletes only after it has added. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 2048);
	__type(key, struct file_id);
	__type(value, struct learned_file);
} learned_files SEC(".maps");

/* Their number. Without any, an exec costs no more than this look. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u32);
} learned_count SEC(".maps");

/* Scratch space. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct event);
} learned_scratch SEC(".maps");

/* Has check_learned, which is replaced in one step. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u32);
} learned_slot SEC(".maps");

/* The entry, which is the same in all versions: docs/pins.md. */
SEC("tp_btf/sched_process_exec")
int check_exec(u64 *ctx)
{
	bpf_tail_call(ctx, &learned_slot, 0);
	return 0;
}

/* Returns what is stored of a file, 0 if its content is not learned. */
static __always_inline struct learned_file *find_learned(struct real_file *real)
{
	struct learned_file *l = bpf_map_lookup_elem(&learned_files, &real->id);

	return l && l->size == real->size && l->modified_ns == real->modified_ns ? l : 0;
}

static __always_inline void check(struct task_struct *task, struct linux_binprm *bprm)
{
	struct real_file real = {};
	struct learned_file *l;
	struct event *e;
	u64 began_ns = bpf_ktime_get_ns();
	u32 zero = 0, len;

	if (!find_real(&real, bprm->file))
		return;
	l = find_learned(&real);
	e = bpf_map_lookup_elem(&learned_scratch, &zero);
	if (!l || !e)
		return;
	__atomic_fetch_add(&l->hits, 1, __ATOMIC_RELAXED);
	l->hit_ns = began_ns;
	e->real = real.id;
	e->number = l->number;
	e->began_ns = began_ns;
	identify(&e->head.file, bprm->file->f_inode);
	e->head.outcome = decide(found, limit_rule, task, &e->head.file, bprm->filename);
	e->head.kill_error = carry_out(e->head.outcome);
	e->head.took_ns = bpf_ktime_get_ns() - began_ns;
	/* One that is too long fills it. */
	if (bpf_probe_read_kernel_str(e->path, LOGGED_PATH, bprm->filename) >= LOGGED_PATH)
		e->path[0] = 0;
	len = describe_head(&e->head, e->text, task);
	if (len <= sizeof(e->text) && bpf_ringbuf_output(&learned_events, e, offsetof(struct event, text) + len, 0))
		count(LOST_EVENT);
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(check_learned, struct task_struct *task, int old_pid, struct linux_binprm *bprm)
{
	u32 zero = 0, *stored = bpf_map_lookup_elem(&learned_count, &zero);

	if (!stored || !*stored || task->tgid == 1)
		return 0;
	hold_cpu_at_tracepoint();
	check(task, bprm);
	release_cpu_at_tracepoint();
	return 0;
}

u32 wanted_process; /* of identify_program; user space has one reader at a time */

/* Writes the file that a process has executed, once for each thread that still has it. */
SEC("iter/task")
int identify_program(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct program_file p = {};
	struct file *file;

	if (!task || task->tgid != wanted_process)
		return 0;
	file = BPF_CORE_READ(task, mm, exe_file);
	if (!file || !find_real(&p.real, file))
		return 0;
	identify(&p.shown, BPF_CORE_READ(file, f_inode));
	bpf_seq_write(ctx->meta->seq, &p, sizeof(p));
	return 0;
}

char _license[] SEC("license") = "GPL";
