//go:build ignore

// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Judges each program by its command line before it runs its first
 * instruction.
 *
 * sched_process_exec comes after an exec has succeeded, for execve, execveat
 * and 32-bit execs alike, and before the new program runs. A SIGKILL sent there
 * is taken on the way to user mode.
 */
#include "kernel.h"
#include "match.bpf.h"
#include "verdict.bpf.h"
#include "preempt.h"
#include "later.bpf.h"
#include "list.bpf.h"

/* Keep the types in the object's BTF, from which the Go types are generated. */
const struct event *unused_event __attribute__((unused));
const struct record *unused_record __attribute__((unused));
const enum own_counter *unused_counter __attribute__((unused));

/* The one program that judges. It and its tables are replaced in one step when
 * the rules change, so each exec is judged once, by the old ones or the new. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u32);
} rules SEC(".maps");

/* The agent's own program file. `cryptnono check` is not killed for the command
 * line that it is asked about. */
struct inode *agent_inode SEC(".data.rules");
/* Pinned rules outlive the agent, whose inode may then become that of another file. */
struct file_id agent_file SEC(".data.rules");

SEC("tp_btf/sched_process_exec")
int judge_exec(u64 *ctx)
{
	bpf_tail_call(ctx, &rules, 0);
	return 0;
}

/* Whether the rules are for this process. */
static __always_inline bool judged_by_rules(struct task_struct *task, struct linux_binprm *bprm)
{
	struct inode *inode = bprm->file->f_inode;

	if (task->tgid == 1)
		return false;
	return inode != agent_inode || inode->i_ino != agent_file.inode ||
	       inode->i_generation != agent_file.generation || inode->i_sb->s_dev != agent_file.device;
}

static __always_inline bool is_long(struct walk *w)
{
	u64 env = search_env ? w->env_end - w->env : 0;

	return w->area_end - w->args + env > MAX_HELD;
}

static __always_inline void apply(struct task_struct *task, struct linux_binprm *bprm, enum deferral by)
{
	u32 ban = 0, pattern = 0, slot = bpf_get_smp_processor_id();
	enum outcome outcome = NO_MATCH;
	struct walk *w = walk_at(slot);

	if (!w)
		return;
	begin_walk(w, task, bprm->filename);
	if (log_execs)
		begin_clock(w);
	if (judged_by_rules(task, bprm)) {
		/* Of a script the file is the interpreter. */
		if (ban_programs && bprm->interp == bprm->filename)
			add_name(w, task);
		if (by != NEVER && is_long(w)) {
			if (defer(task, w, by))
				return;
			count(NOT_DEFERRED);
		}
		outcome = judge(slot, w, task, false, &ban, &pattern);
		if (by != NEVER && (outcome == UNDECIDED || awaits_container(task, outcome))) {
			if (defer(task, w, by))
				return;
			if (!is_long(w)) /* or it is counted already */
				count(NOT_DEFERRED);
		}
	}
	finish(slot, task, w, outcome, ban, pattern, w->began_ns ? exec_time(w->began_ns) : exec_number(w));
}

/* One of these three is in the place of judge_exec. */
SEC("tp_btf/sched_process_exec")
int BPF_PROG(apply_rules, struct task_struct *task, int old_pid, struct linux_binprm *bprm)
{
	hold_cpu_at_tracepoint();
	apply(task, bprm, NEVER);
	release_cpu_at_tracepoint();
	return 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(apply_or_defer, struct task_struct *task, int old_pid, struct linux_binprm *bprm)
{
	hold_cpu_at_tracepoint();
	apply(task, bprm, BY_SIGNAL);
	release_cpu_at_tracepoint();
	return 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(apply_or_defer_impl, struct task_struct *task, int old_pid, struct linux_binprm *bprm)
{
	hold_cpu_at_tracepoint();
	apply(task, bprm, BY_SIGNAL_IMPL);
	release_cpu_at_tracepoint();
	return 0;
}

/* Run on demand in the agent's own context. */
SEC("raw_tp/remember_agent")
int remember_agent(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	agent_inode = BPF_CORE_READ(task, mm, exe_file, f_inode);
	identify(&agent_file, agent_inode);
	return 0;
}

/* The same judgement on texts in the caller's memory, for tests: the path, the
 * arguments and their end, the environment and its end. */
struct {
	u32 ban;
	u32 pattern;
} judged;

SEC("raw_tp/judge_texts")
int judge_texts(struct bpf_raw_tracepoint_args *ctx)
{
	u32 ban, pattern, slot = bpf_get_smp_processor_id();
	struct walk *w = walk_at(slot);
	enum outcome outcome;

	if (!w)
		return -1;
	w->path = ctx->args[0];
	w->path_in_user = true;
	w->name = 0;
	w->args = ctx->args[1];
	w->args_end = w->area_end = ctx->args[2];
	w->env = ctx->args[3];
	w->env_end = ctx->args[4];
	outcome = judge(slot, w, 0, false, &ban, &pattern);
	judged.ban = ban;
	judged.pattern = pattern;
	return outcome;
}

char _license[] SEC("license") = "GPL";
