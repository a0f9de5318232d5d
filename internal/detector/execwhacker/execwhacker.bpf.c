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
#include "process.h"
#include "guard.h"
#include "match.bpf.h"
#include "later.bpf.h"

#define LOG_PATH 1024
#define LOG_ARGS 4096
#define LOG_ENV 16384

/* Decoded in event.go. */
struct event {
	struct process process;
	u64 took_ns;	/* from the hook to the verdict */
	u32 generation; /* of the rules */
	u32 outcome;
	u32 ban;
	u32 pattern;
	s32 kill_error; /* negative errno */
	u32 path_len;
	u32 args_len; /* those in args */
	u32 env_len;
	u64 args_total;
	u8 path[LOG_PATH];
	u8 args[LOG_ARGS];
	u8 env[LOG_ENV]; /* only env_len of it are sent */
};

/* Keep the types in the object's BTF, from which their Go twins are made. */
const struct event *unused_event __attribute__((unused));
const enum outcome *unused_outcome __attribute__((unused));
const enum counter *unused_counter __attribute__((unused));

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 21);
} events SEC(".maps");

/* Exact, whatever becomes of the events. Indices below OUTCOMES are outcomes;
 * their sum is all execs. */
enum counter {
	LOST_EVENT = OUTCOMES,
	KILL_FAILED,
	COUNTERS,
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNTERS);
	__type(key, u32);
	__type(value, u64);
} counters SEC(".maps");

/* The one program that judges. It and its tables are replaced in one step when
 * the rules change, so each exec is judged once, by the old ones or the new. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u32);
} rules SEC(".maps");

const volatile u32 generation; /* of the rules */
const volatile bool log_env;

/* The agent's own program file. `cryptnono check` is not killed for the command
 * line that it is asked about. */
struct inode *agent_inode;

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct event);
} scratch SEC(".maps");

static __always_inline void count(u32 which)
{
	u64 *n = bpf_map_lookup_elem(&counters, &which);

	if (n)
		(*n)++;
}

static __always_inline void describe(struct event *e, struct walk *w, struct task_struct *task)
{
	u64 total = w->args < w->args_end ? w->args_end - w->args : 0;
	u32 len = total < LOG_ARGS ? total : LOG_ARGS;
	long n = bpf_probe_read_kernel_str(e->path, LOG_PATH, (void *)w->path);
	u64 env, env_len;

	describe_process(&e->process, task);
	e->path_len = n > 0 ? n - 1 : 0;
	e->args_total = total;
	e->args_len = 0;
	if (len <= LOG_ARGS && !bpf_probe_read_user(e->args, len, (void *)w->args))
		e->args_len = len;
	e->env_len = 0;
	if (!log_env)
		return;
	env = task->mm->env_start;
	env_len = task->mm->env_end - env;
	if (env_len > LOG_ENV)
		env_len = LOG_ENV;
	if (!bpf_probe_read_user(e->env, env_len, (void *)env))
		e->env_len = env_len;
}

/* Whether a verdict of the rules holds for this process. */
static __always_inline enum outcome guard(enum outcome outcome, struct task_struct *task, struct walk *w)
{
	enum standing standing = HOST_CGROUP;
	struct policy *policy = this_policy();
	struct cgroup_key key = {};

	if (!policy || (outcome != BANNED && outcome != OBSERVED))
		return outcome;
	if (exempt_program(policy, task, (const char *)w->path))
		return EXEMPT;
	if (policy->by_cgroup || policy->container_kills)
		standing = cgroup_standing(task, &key);
	if (standing == EXEMPT_CGROUP)
		return EXEMPT;
	if (outcome == OBSERVED)
		return OBSERVED;
	if (standing == UNKNOWN_CGROUP && policy->by_cgroup)
		return UNKNOWN_CONTAINER;
	return braked(policy, &key) ? BRAKED : BANNED;
}

/*
 * While a program runs at a tracepoint, the kernel skips it for whoever else comes
 * there on the same CPU, and since 7.0 it may let others run there (a46023d5616e).
 * So preemption is off during the judgement. It must not take place either where it
 * is allowed again, still in the program: with interrupts off, it waits for the next
 * occasion.
 *
 * That needs functions of 6.10 (fc7566ad0a82) and 6.14 (c8e2ee1f3df0), and a verifier
 * that lets global functions be called in between, as since 6.15 (e2d8f560d178).
 * Before, preemption was off already.
 */
void bpf_preempt_disable(void) __ksym __weak;
void bpf_preempt_enable(void) __ksym __weak;
void bpf_local_irq_save(unsigned long *flags) __ksym __weak;
void bpf_local_irq_restore(unsigned long *flags) __ksym __weak;

static __always_inline bool preemptible(void)
{
	return bpf_core_field_exists(struct bpf_subprog_info, might_sleep);
}

static __always_inline void hold_cpu(void)
{
	if (preemptible())
		bpf_preempt_disable();
}

static __always_inline void release_cpu(void)
{
	unsigned long flags;

	if (!preemptible())
		return;
	bpf_local_irq_save(&flags);
	bpf_preempt_enable();
	bpf_local_irq_restore(&flags);
}

SEC("tp_btf/sched_process_exec")
int judge_exec(u64 *ctx)
{
	bpf_tail_call(ctx, &rules, 0);
	return 0;
}

/* Does what becomes of a process that was judged. Called from the hook, and from the
 * callback of a judgement that was deferred, where there is no context. */
static __always_inline void finish(struct task_struct *task, struct walk *w, enum outcome outcome,
				   u32 ban, u32 pattern, u64 start)
{
	u64 size = offsetof(struct event, env);
	long kill_error = 0;
	struct event *e;
	u32 zero = 0;

	if (outcome == NO_MATCH) {
		count(NO_MATCH);
		return;
	}
	outcome = guard(outcome, task, w);
	count(outcome);
	if (outcome == BANNED) {
		kill_error = bpf_send_signal(SIGKILL);
		if (kill_error)
			count(KILL_FAILED);
	}

	e = bpf_map_lookup_elem(&scratch, &zero);
	if (!e)
		return;
	e->took_ns = bpf_ktime_get_ns() - start;
	e->generation = generation;
	e->outcome = outcome;
	e->ban = ban;
	e->pattern = pattern;
	e->kill_error = kill_error;
	describe(e, w, task);
	if (e->env_len <= LOG_ENV)
		size += e->env_len;
	if (bpf_ringbuf_output(&events, e, size, 0))
		count(LOST_EVENT);
}

/* Whether the rules are for this process. */
static __always_inline bool judged_by_rules(struct task_struct *task, struct linux_binprm *bprm)
{
	return task->tgid != 1 && bprm->file->f_inode != agent_inode;
}

static __always_inline void begin_walk(struct walk *w, struct task_struct *task, const char *path)
{
	w->path = (u64)path;
	w->path_in_user = false;
	w->args = task->mm->arg_start;
	w->args_end = task->mm->arg_end;
}

/* The judgement that was deferred, in the task itself. */
static int judge_later(struct bpf_map *map, void *key, void *value)
{
	struct task_struct *task = bpf_get_current_task_btf();
	u32 ban, pattern, slot = later_first + *(u32 *)key;
	struct walk *w = walk_at(slot);
	struct later *l = value;
	enum outcome outcome;

	if (w && task->mm) {
		begin_walk(w, task, (const char *)l->path);
		outcome = judge(slot, w, true, &ban, &pattern);
		hold_cpu();
		finish(task, w, outcome, ban, pattern, l->start);
		release_cpu();
	} else {
		count(NO_MATCH); /* it dies without having run */
	}
	forget_later(l);
	return 0;
}

enum deferral {
	NEVER,
	BY_SIGNAL,	/* bpf_task_work_schedule_signal */
	BY_SIGNAL_IMPL, /* bpf_task_work_schedule_signal_impl */
};

/* Has the callback judge, and says whether it will. */
static __always_inline bool defer(struct task_struct *task, struct linux_binprm *bprm, u64 start, enum deferral by)
{
	struct later *l;
	long n;

	if (by == NEVER)
		return false;
	l = take_later(task->pid);
	if (!l)
		return false;
	l->start = start;
	n = bpf_probe_read_kernel_str(l->path, LATER_PATH, bprm->filename);
	if (n > 0 && n < LATER_PATH) {
		if (by == BY_SIGNAL && !bpf_task_work_schedule_signal(task, &l->work, &laters, judge_later))
			return true;
		if (by == BY_SIGNAL_IMPL && !bpf_task_work_schedule_signal_impl(task, &l->work, &laters, judge_later, 0))
			return true;
	}
	forget_later(l);
	return false;
}

static __always_inline void apply(struct task_struct *task, struct linux_binprm *bprm, enum deferral by)
{
	u64 start = bpf_ktime_get_ns();
	u32 ban, pattern, slot = bpf_get_smp_processor_id();
	struct walk *w = walk_at(slot);
	enum outcome outcome;

	if (!w)
		return;
	if (!judged_by_rules(task, bprm)) {
		count(NO_MATCH);
		return;
	}
	begin_walk(w, task, bprm->filename);
	if (w->args_end - w->args > MAX_HELD && defer(task, bprm, start, by))
		return;
	outcome = judge(slot, w, false, &ban, &pattern);
	if (outcome == UNDECIDED && defer(task, bprm, start, by))
		return;
	finish(task, w, outcome, ban, pattern, start);
}

/* One of these three is in the place of judge_exec. */
SEC("tp_btf/sched_process_exec")
int BPF_PROG(apply_rules, struct task_struct *task, int old_pid, struct linux_binprm *bprm)
{
	hold_cpu();
	apply(task, bprm, NEVER);
	release_cpu();
	return 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(apply_or_defer, struct task_struct *task, int old_pid, struct linux_binprm *bprm)
{
	hold_cpu();
	apply(task, bprm, BY_SIGNAL);
	release_cpu();
	return 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(apply_or_defer_impl, struct task_struct *task, int old_pid, struct linux_binprm *bprm)
{
	hold_cpu();
	apply(task, bprm, BY_SIGNAL_IMPL);
	release_cpu();
	return 0;
}

/* Run on demand in the agent's own context. */
SEC("raw_tp/remember_agent")
int remember_agent(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	agent_inode = BPF_CORE_READ(task, mm, exe_file, f_inode);
	return 0;
}

/* The same judgement on texts in the caller's memory, for tests: the path, the
 * arguments and their end. */
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
	w->args = ctx->args[1];
	w->args_end = ctx->args[2];
	outcome = judge(slot, w, false, &ban, &pattern);
	judged.ban = ban;
	judged.pattern = pattern;
	return outcome;
}

char _license[] SEC("license") = "GPL";
