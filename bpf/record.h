/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The record of a process: what it executed, the verdict with the generation of the rules,
 * and a fingerprint of its arguments. A fork inherits the record; the exit of the process
 * deletes it. A scan then evaluates only processes without a verdict by the current rules,
 * and never by arguments that a process has overwritten.
 *
 * It is a hash map by thread group. Task storage is missing in Linux 5.10, would be needed
 * for threads as well, and makes a fork more expensive (docs/performance.md).
 */
#pragma once

#include "kernel.h"
#include "preempt.h"
#include "process.h"

#define RECORD_PATH 256

/* Decoded by record.go. exec_ns is 0 while a record is being written. */
struct record {
	u64 exec_ns;   /* time of the exec, or see UNTIMED: distinguishes the execs of a process */
	u64 start_ns;  /* of the process: its id is used again */
	u64 arguments; /* their fingerprint, 0 if they could not be read */
	u64 arguments_len;
	u32 generation; /* of the rules */
	u32 outcome;
	u32 open;     /* whether user space has to judge it still; or see SKIPPED */
	u32 named;    /* whether the path leads to a file of another name */
	u32 path_len; /* 0 if it is longer than what is kept */
	u32 exec_id;  /* the lowest bits of self_exec_id, which each exec counts, also one that was not seen */
	/* as it was executed */
	u8 path[RECORD_PATH] __attribute__((aligned(8)));
};

/* The least of open where a list has left out the next exec, since it may have been under way: then
 * it is the time of that, in units of 2^18 ns. */
#define SKIPPED 2

/* Made for as many processes as there may be: see load. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__type(key, u32); /* thread group */
	__type(value, struct record);
} records SEC(".maps");

/* Execs, by exec_ns, that user space has found banned: all that came of one and has
 * not executed another program must die. The value counts what was killed here. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, u64);
	__type(value, u32);
} condemned SEC(".maps");

/* How many could not be kept: their processes are unknown. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
} lost_records SEC(".maps");

static __always_inline void lose_record(void)
{
	u32 zero = 0;
	u64 *n = bpf_map_lookup_elem(&lost_records, &zero);

	if (n)
		__atomic_fetch_add(n, 1, __ATOMIC_RELAXED);
}

static __always_inline struct record *record_of(u32 tgid)
{
	return bpf_map_lookup_elem(&records, &tgid);
}

/* The record of a process that is under way to a new program, to be filled in. Where there
 * is none, *any becomes one: all but exec_ns is written over. */
static __always_inline struct record *record_for_exec(struct task_struct *task, struct record *any)
{
	u32 tgid = task->tgid;
	struct record *r = record_of(tgid);

	if (r)
		return r;
	any->exec_ns = 0;
	if (bpf_map_update_elem(&records, &tgid, any, BPF_ANY))
		lose_record();
	return record_of(tgid);
}

/* Names an exec by a time at which this CPU did nothing else. No two on one CPU are as
 * near. */
static __always_inline u64 exec_time(u64 now)
{
	return (now & ~1023ULL) | (bpf_get_smp_processor_id() & 1023);
}

/* Of a process whose exec was not seen. */
#define UNSEEN (1ULL << 63)

/* Of an exec that was dismissed without a look at the clock: the rest is a number (exec_number). */
#define UNTIMED (1ULL << 62)

enum pid_type {
	PIDTYPE_TGID = 1,
};

/* Since 6.13 (6280cf718db0). */
int bpf_send_signal_task(struct task_struct *task, int sig, enum pid_type type, u64 value) __ksym __weak;

/* A process whose exec was found banned goes on in children quicker than user space
 * can find them. */
static __always_inline void end_line(u64 exec_ns, struct task_struct *child)
{
	u32 *killed = bpf_map_lookup_elem(&condemned, &exec_ns);

	if (!killed)
		return;
	bpf_send_signal(SIGKILL);
	if (bpf_send_signal_task && !bpf_send_signal_task(child, SIGKILL, PIDTYPE_TGID, 0))
		__atomic_fetch_add(killed, 1, __ATOMIC_RELAXED);
}

/* Where one is put together. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct record);
} child_records SEC(".maps");

/* Whether a record is of what a process, whose group began then, executes. */
static __always_inline bool is_record_of(struct record *r, struct task_struct *task, u64 start_ns)
{
	return r->start_ns == start_ns && r->exec_id == (u32)task->self_exec_id;
}

static __always_inline void inherit(struct task_struct *parent, struct task_struct *child)
{
	struct record *r = record_of(parent->tgid), *child_record;
	u32 tgid = child->tgid, zero = 0;

	if (!r || !is_record_of(r, parent, parent->group_leader->start_boottime))
		return;
	if (r->open)
		end_line(r->exec_ns, child);
	/* Complete before it can be found: list_unjudged ignores the record of a process with
	 * another start time. */
	child_record = bpf_map_lookup_elem(&child_records, &zero);
	if (!child_record)
		return;
	*child_record = *r;
	child_record->start_ns = child->start_boottime;
	if (bpf_map_update_elem(&records, &tgid, child_record, BPF_ANY))
		lose_record();
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(inherit_record, struct task_struct *parent, struct task_struct *child)
{
	if (child->tgid == parent->tgid)
		return 0; /* a thread */
	hold_cpu_at_tracepoint();
	inherit(parent, child);
	release_cpu_at_tracepoint();
	return 0;
}

/* Whether all threads of a process have ended. It is among the tasks until its parent has
 * waited for it. */
static __always_inline bool has_ended(struct task_struct *task)
{
	return !task->signal->live.counter;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(drop_record, struct task_struct *task)
{
	u32 tgid = task->tgid;

	if (!has_ended(task))
		return 0;
	hold_cpu_at_tracepoint();
	bpf_map_delete_elem(&records, &tgid);
	release_cpu_at_tracepoint();
	return 0;
}
