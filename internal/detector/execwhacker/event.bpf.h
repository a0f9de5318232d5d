/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The event that reports a verdict to the agent. */
#pragma once

#include "kernel.h"
#include "process.h"
#include "match.bpf.h"
#include "verdict.h"

#define LOG_PATH 1024
#define LOG_ARGS 4096
#define LOG_ENV 16384
#define TEXT 8192 /* all but the environment: a power of 2 */

/* As long as what it holds. Decoded in event.go. */
struct event {
	struct event_head head;
	u64 exec_ns;	/* see struct record */
	u64 args_total; /* bytes */
	u32 generation; /* of the rules */
	u32 ban;
	u32 pattern;
	u32 path_len;
	u32 args_len; /* those in text */
	u32 env_len;
	/* that of the head, the path, arguments and environment */
	u8 text[TEXT + LOG_ENV];
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 21);
} events SEC(".maps");

/* Those of execs that no rule matches, if they are wanted: they must not take the place of
 * verdicts. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 19);
} execs SEC(".maps");

const volatile u32 generation; /* of the rules */
const volatile bool log_env;
const volatile bool log_execs; /* also those that no rule matches */

enum own_counter {
	NOT_DEFERRED = OWN_COUNTERS,
	OUTDATED, /* the rules changed while it was judged */
	LOST_EXEC,
	COUNTERS,
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct event);
} scratch SEC(".maps");

/* What was judged. */
struct verdict {
	enum outcome outcome;
	u32 ban;
	u32 pattern;
	s32 kill_error;
};

/* Appends a string of the kernel's, with its NUL, of at most limit bytes. */
static __always_inline u32 append_string(struct event *e, u32 at, u32 limit, const void *from)
{
	long n = bpf_probe_read_kernel_str(e->text + (at & (TEXT - 1)), limit, from);

	return n > 0 ? at + n : at;
}

/* Appends up to limit bytes of user memory; returns how many. */
static __always_inline u32 append_area(struct event *e, u32 at, u32 limit, u64 from, u64 total)
{
	u32 n = total < limit ? total : limit;

	barrier_var(n); /* clang-14 would compare a copy of it */
	if (n > limit || bpf_probe_read_user(e->text + (at & (TEXT - 1)), n, (void *)from))
		return 0;
	return n;
}

/* Fills in what user space cannot read any more when it gets the event: the process may
 * have ended. Returns the length of the text. */
static __always_inline u32 describe(struct event *e, struct walk *w, struct task_struct *task)
{
	struct mm_struct *mm = task->mm;
	u32 at = describe_head(&e->head, e->text, task), start = at;

	w->args_end = w->area_end; /* the search goes without its last NUL */
	at = append_string(e, at, LOG_PATH, (void *)w->path);
	e->path_len = at - start;
	e->args_total = w->args < w->args_end ? w->args_end - w->args : 0;
	e->args_len = append_area(e, at, LOG_ARGS, w->args, e->args_total);
	at += e->args_len;
	e->env_len = log_env ? append_area(e, at, LOG_ENV, mm->env_start, mm->env_end - mm->env_start) : 0;
	return at + e->env_len;
}

static __always_inline void tell(void *to, u32 lost, struct task_struct *task, struct walk *w, struct verdict *v,
				 struct file_id *file, u64 exec_ns)
{
	u32 zero = 0, len;
	struct event *e = bpf_map_lookup_elem(&scratch, &zero);

	if (!e)
		return;
	e->head.file = *file;
	e->exec_ns = exec_ns;
	e->head.took_ns = bpf_ktime_get_ns() - w->began_ns;
	e->generation = generation;
	e->head.outcome = v->outcome;
	e->ban = v->ban;
	e->pattern = v->pattern;
	e->head.kill_error = v->kill_error;
	len = describe(e, w, task);
	if (len > sizeof(e->text))
		return;
	if (bpf_ringbuf_output(to, e, offsetof(struct event, text) + len, 0))
		count(lost);
}
