//go:build ignore

// SPDX-License-Identifier: GPL-2.0-or-later
/* Kills programs by their command name: the first 15 bytes of the file's name. */
#include "kernel.h"
#include "verdict.h"
#include "preempt.h"

#define COMM 16 /* TASK_COMM_LEN of the kernel, with a NUL */

/* Decoded in example.go. */
struct event {
	struct event_head head;
	u8 name[COMM];
	u8 text[HEAD_TEXT];
};

const struct event *unused_event __attribute__((unused));

const volatile bool observe;
const volatile u32 limit_rule; /* for the kill limit */

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 18);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, u8[COMM]);
	__type(value, u32);
} names SEC(".maps");

/* Scratch space. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct event);
} scratch SEC(".maps");

static __always_inline void check(struct task_struct *task, struct linux_binprm *bprm)
{
	u64 began_ns = bpf_ktime_get_ns();
	u32 zero = 0, len;
	struct event *e = bpf_map_lookup_elem(&scratch, &zero);

	if (!e || task->tgid == 1)
		return;
	__builtin_memset(e->name, 0, COMM);
	bpf_get_current_comm(e->name, COMM);
	if (!bpf_map_lookup_elem(&names, e->name)) {
		count(NO_MATCH);
		return;
	}
	identify(&e->head.file, bprm->file->f_inode);
	/* A name alone is weak evidence against root on the node. */
	e->head.outcome = is_node_root(task) ? EXEMPT
					     : decide(observe ? OBSERVED : BANNED, limit_rule, task, &e->head.file,
						      bprm->filename);
	e->head.kill_error = carry_out(e->head.outcome);
	e->head.took_ns = bpf_ktime_get_ns() - began_ns;
	len = describe_head(&e->head, e->text, task);
	if (len <= sizeof(e->text) && bpf_ringbuf_output(&events, e, offsetof(struct event, text) + len, 0))
		count(LOST_EVENT);
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(check_name, struct task_struct *task, int old_pid, struct linux_binprm *bprm)
{
	hold_cpu_at_tracepoint();
	check(task, bprm);
	release_cpu_at_tracepoint();
	return 0;
}

char _license[] SEC("license") = "GPL";
