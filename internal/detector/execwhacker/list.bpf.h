/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lists processes for a scan. */
#pragma once

#include "kernel.h"
#include "list.h"
#include "record.h"

/* What a scan wants to know of a process. */
struct listed {
	struct record record;
	struct process process;
};

const struct listed *unused_listed __attribute__((unused));

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct listed);
} listings SEC(".maps");

/* For one reader at a time: see list.go. */
u32 judged_generation; /* whose processes are left out */
u64 wanted_exec;       /* 0, or the exec whose processes alone are listed */
u64 unseen;	       /* counts processes whose exec was not seen */
u64 skipped;	       /* counts what was left out, which a later list has */
struct root host;      /* as init sees it */

/* Whether a process is under way to a new program, which is judged before it runs. */
static __always_inline bool is_executing(struct task_struct *task)
{
	return bpf_core_field_exists(task->in_execve) && BPF_CORE_READ_BITFIELD(task, in_execve);
}

/* Whether a process is left out whose exec may be under way: for a second from the first list on. If its
 * record is just made for that exec, user space looks at it once more. */
static __always_inline bool is_skipped(struct record *r)
{
	u32 now = bpf_ktime_get_ns() >> 18 | 3, since = r->open; /* which only grows, and is never less than SKIPPED */

	if (since < SKIPPED)
		r->open = since = now;
	return now - since < 4000;
}

/* Lists the processes without a verdict by the current rules, each with its record. A
 * process without a record, or whose exec was not seen, gets one, so that its children inherit it. */
SEC("iter/task")
int list_unjudged(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct listed *l;
	struct record *r;
	u32 zero = 0, tgid;
	bool missed;

	if (!task || task->pid != task->tgid)
		return 0;
	tgid = task->tgid;
	if (task->flags & PF_KTHREAD || tgid == 1 || has_ended(task))
		return 0;
	l = bpf_map_lookup_elem(&listings, &zero);
	if (!l)
		return 0;
	r = record_of(tgid);
	if (r && !r->exec_ns)
		return 0; /* it executes just now, and so is judged */
	if (!r || !is_record_of(r, task, task->start_boottime)) {
		missed = r && r->start_ns == task->start_boottime;
		if (wanted_exec)
			return 0;
		/* Not for long: a tracer can hold it there, as can a file system from which it executes next. */
		if (missed && is_executing(task) && is_skipped(r)) {
			skipped++;
			return 0;
		}
		__builtin_memset(&l->record, 0, sizeof(l->record));
		l->record.exec_ns = UNSEEN | ++unseen;
		l->record.start_ns = task->start_boottime;
		l->record.exec_id = task->self_exec_id;
		l->record.open = 1;
		if (missed) /* since these rules are in force */
			l->record.generation = judged_generation;
		bpf_map_update_elem(&records, &tgid, &l->record, r ? BPF_ANY : BPF_NOEXIST);
		/* drop_record may have come before that. */
		if (has_ended(task))
			bpf_map_delete_elem(&records, &tgid);
	} else {
		if (wanted_exec ? r->exec_ns != wanted_exec : r->generation == judged_generation && !r->open)
			return 0;
		l->record = *r;
		/* The same. */
		if (!l->record.exec_ns || l->record.exec_ns != *(volatile u64 *)&r->exec_ns)
			return 0;
		r->open = 1;
	}
	list_process(ctx->meta->seq, l, &l->process, task, &host);
	return 0;
}
