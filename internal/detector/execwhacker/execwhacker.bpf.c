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
#include "record.h"
#include "guard.h"
#include "match.bpf.h"
#include "later.bpf.h"

#define LOG_PATH 1024
#define LOG_ARGS 4096
#define LOG_ENV 16384
#define TEXT 8192 /* all but the environment: a power of 2 */

/* As long as what it holds. Decoded in event.go. */
struct event {
	struct who who;
	struct file_id file;
	u64 exec_ns;	/* see struct record */
	u64 took_ns;	/* from the hook to the verdict */
	u64 args_total; /* bytes */
	u32 generation; /* of the rules */
	u32 outcome;
	u32 ban;
	u32 pattern;
	s32 kill_error; /* negative errno */
	u32 hierarchy;	/* see struct cgroup_path */
	u32 depth;
	u32 path_len;
	u32 args_len; /* those in text */
	u32 env_len;
	u64 cgroups[CGROUP_LEVELS];
	/* the names of the cgroups, each ended by a NUL, the path, arguments and
	 * environment */
	u8 text[TEXT + LOG_ENV];
};

/* Keep the types in the object's BTF, from which their Go twins are made. */
const struct event *unused_event __attribute__((unused));
const struct record *unused_record __attribute__((unused));
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
	NOT_DEFERRED,
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

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct cgroup_path);
} cgroup_paths SEC(".maps");

static __always_inline void count(u32 which)
{
	u64 *n = bpf_map_lookup_elem(&counters, &which);

	if (n)
		(*n)++;
}

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

	if (n > limit || bpf_probe_read_user(e->text + (at & (TEXT - 1)), n, (void *)from))
		return 0;
	return n;
}

/* The levels of the cgroup next to the root, as describe_cgroup has them. */
static __always_inline u32 describe_cgroups(struct event *e, struct cgroup *cgroup)
{
	u32 zero = 0, at = 0;
	struct cgroup_path *p = bpf_map_lookup_elem(&cgroup_paths, &zero);

	if (!p)
		return 0;
	describe_cgroup(p, cgroup);
	e->hierarchy = p->hierarchy;
	e->depth = p->depth;
	for (u32 i = 0; i < CGROUP_LEVELS; i++) {
		e->cgroups[i] = i < p->depth ? p->levels[i].id : 0;
		if (e->cgroups[i])
			at = append_string(e, at, CGROUP_NAME, p->levels[i].name);
	}
	return at;
}

/* Fills in what the dead cannot tell any more, and returns how long the text is. */
static __always_inline u32 describe(struct event *e, struct walk *w, struct task_struct *task)
{
	struct mm_struct *mm = task->mm;
	u32 at = describe_cgroups(e, task_cgroup(task)), start = at;

	describe_who(&e->who, task);
	w->args_end = mm->arg_end; /* the search goes without its last NUL */
	at = append_string(e, at, LOG_PATH, (void *)w->path);
	e->path_len = at - start;
	e->args_total = w->args < w->args_end ? w->args_end - w->args : 0;
	e->args_len = append_area(e, at, LOG_ARGS, w->args, e->args_total);
	at += e->args_len;
	e->env_len = log_env ? append_area(e, at, LOG_ENV, mm->env_start, mm->env_end - mm->env_start) : 0;
	return at + e->env_len;
}

/* Whether a verdict of the rules holds for this process. */
static __always_inline enum outcome guard(enum outcome outcome, struct task_struct *task, struct walk *w,
					   struct file_id *file)
{
	enum standing standing = HOST_CGROUP;
	struct policy *policy = this_policy();
	struct cgroup_key key = {};

	if (!policy || (outcome != BANNED && outcome != OBSERVED))
		return outcome;
	if (exempt_program(policy, task, file, (const char *)w->path))
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

/* Whether user space must say the last word. */
static __always_inline bool is_open(enum outcome outcome)
{
	return outcome == UNDECIDED || outcome == UNKNOWN_CONTAINER;
}

/* The file that a process executes, as identify has it, but of a task that the verifier
 * knows: each field takes a load instead of a helper. */
static __always_inline void identify_program(struct file_id *id, struct task_struct *task)
{
	struct inode *inode = task->mm->exe_file->f_inode;

	id->inode = inode->i_ino;
	id->device = inode->i_sb->s_dev;
	id->generation = inode->i_generation;
}

/* Keeps the verdict with the process. */
static __always_inline void keep(struct task_struct *task, struct walk *w, enum outcome outcome, u64 exec_ns,
				 struct file_id *file)
{
	struct record *r = record_for_exec(task);
	long n;

	if (!r)
		return;
	*(volatile u64 *)&r->exec_ns = 0;
	r->open = is_open(outcome);
	r->start_ns = task->group_leader->start_boottime;
	r->arguments_len = task->mm->arg_end - w->args;
	r->arguments = fingerprint_of(w->args, task->mm->arg_end);
	r->file = *file;
	r->generation = generation;
	r->outcome = outcome;
	n = bpf_probe_read_kernel_str(r->path, RECORD_PATH, (void *)w->path);
	r->named = !!w->name;
	r->path_len = n > 0 && n < RECORD_PATH ? n - 1 : 0;
	*(volatile u64 *)&r->exec_ns = exec_ns;
}

/* What was judged, and when that began. */
struct verdict {
	enum outcome outcome;
	u32 ban;
	u32 pattern;
	s32 kill_error;
	u64 began_ns;
};

static __always_inline void tell(struct task_struct *task, struct walk *w, struct verdict *v, struct file_id *file,
				 u64 exec_ns)
{
	u32 zero = 0, len;
	struct event *e = bpf_map_lookup_elem(&scratch, &zero);

	if (!e)
		return;
	e->file = *file;
	e->exec_ns = exec_ns;
	e->took_ns = bpf_ktime_get_ns() - v->began_ns;
	e->generation = generation;
	e->outcome = v->outcome;
	e->ban = v->ban;
	e->pattern = v->pattern;
	e->kill_error = v->kill_error;
	len = describe(e, w, task);
	if (len > sizeof(e->text))
		return;
	if (bpf_ringbuf_output(&events, e, offsetof(struct event, text) + len, 0))
		count(LOST_EVENT);
}

/* What follows from the judgement of an exec. Nobody else may run on the CPU. */
static __always_inline void finish(struct task_struct *task, struct walk *w, enum outcome outcome, u32 ban,
				    u32 pattern, u64 began_ns, u64 exec_ns)
{
	struct verdict v = {.outcome = outcome, .ban = ban, .pattern = pattern, .began_ns = began_ns};
	struct file_id file;

	identify_program(&file, task);
	if (outcome != NO_MATCH)
		v.outcome = guard(outcome, task, w, &file);
	count(v.outcome);
	if (v.outcome == BANNED) {
		v.kill_error = bpf_send_signal(SIGKILL);
		if (v.kill_error)
			count(KILL_FAILED);
	}
	keep(task, w, v.outcome, exec_ns, &file);
	if (v.outcome == NO_MATCH)
		return;
	tell(task, w, &v, &file, exec_ns);
}

/* Whether it is not known yet if the container of a banned program is exempt. */
static __always_inline bool awaits_container(struct task_struct *task, enum outcome outcome)
{
	struct policy *policy = this_policy();
	struct cgroup_key key = {};

	return outcome == BANNED && policy && policy->by_cgroup && cgroup_standing(task, &key) == UNKNOWN_CGROUP;
}

/* Whether the rules are for this process. */
static __always_inline bool judged_by_rules(struct task_struct *task, struct linux_binprm *bprm)
{
	return task->tgid != 1 && bprm->file->f_inode != agent_inode;
}

static __always_inline void begin_walk(struct walk *w, struct task_struct *task, const char *path)
{
	w->path = (u64)path;
	w->name = 0;
	w->path_in_user = false;
	w->args = task->mm->arg_start;
	w->args_end = task->mm->arg_end;
}

static __always_inline u64 file_name(struct task_struct *task)
{
	return (u64)BPF_CORE_READ(task, mm, exe_file, f_path.dentry, d_name.name);
}

/* How long a banned program waits for user space to say whether its container is
 * exempt, before its first instruction: what user space needs is a few milliseconds, on a
 * machine that is not busy. */
#define AWAIT_NS 1000000000ULL
#define AWAIT_TURNS (1 << 23)

struct await {
	u64 until_ns;
	u64 address; /* that may be read */
};

/* Yields the CPU, as bpf_copy_from_user_task does. */
static long await_turn(u64 i, struct await *a)
{
	struct task_struct *task = bpf_get_current_task_btf();
	u8 byte;

	bpf_copy_from_user_task(&byte, 1, (void *)a->address, task, 0);
	return bpf_ktime_get_ns() > a->until_ns || !awaits_container(task, BANNED);
}

static __always_inline void await_container(struct task_struct *task, struct walk *w, u32 ban, u64 began_ns)
{
	struct verdict v = {.outcome = AWAITED, .ban = ban, .began_ns = began_ns};
	struct await a = {.until_ns = bpf_ktime_get_ns() + AWAIT_NS, .address = w->args};
	struct file_id file;

	identify_program(&file, task);
	hold_cpu();
	tell(task, w, &v, &file, 0);
	release_cpu();
	bpf_loop(AWAIT_TURNS, await_turn, &a, 0);
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
		if (l->named)
			w->name = file_name(task);
		outcome = judge(slot, w, true, &ban, &pattern);
		if (outcome == UNDECIDED && is_dying(task))
			outcome = NO_MATCH;
		if (awaits_container(task, outcome))
			await_container(task, w, ban, l->start);
		hold_cpu();
		finish(task, w, outcome, ban, pattern, l->start, exec_time(bpf_ktime_get_ns()));
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
static __always_inline bool defer(struct task_struct *task, struct walk *w, u64 start, enum deferral by)
{
	struct later *l = take_later(task->pid);
	long n;

	if (!l)
		return false;
	l->start = start;
	l->named = w->name;
	n = bpf_probe_read_kernel_str(l->path, LATER_PATH, (void *)w->path);
	if (n > 0 && n < LATER_PATH) {
		if (by == BY_SIGNAL && !bpf_task_work_schedule_signal(task, &l->work, &laters, judge_later))
			return true;
		if (by == BY_SIGNAL_IMPL && !bpf_task_work_schedule_signal_impl(task, &l->work, &laters, judge_later, 0))
			return true;
	}
	forget_later(l);
	return false;
}

static __always_inline bool is_long(struct task_struct *task, struct walk *w)
{
	return task->mm->arg_end - w->args > MAX_HELD;
}

static __always_inline void apply(struct task_struct *task, struct linux_binprm *bprm, enum deferral by)
{
	u64 start = bpf_ktime_get_ns();
	u32 ban = 0, pattern = 0, slot = bpf_get_smp_processor_id();
	enum outcome outcome = NO_MATCH;
	struct walk *w = walk_at(slot);

	if (!w)
		return;
	begin_walk(w, task, bprm->filename);
	if (judged_by_rules(task, bprm)) {
		/* Of a script the file is the interpreter. */
		if (ban_programs && bprm->interp == bprm->filename) {
			w->name = file_name(task);
			if (!named_otherwise(slot))
				w->name = 0;
		}
		if (by != NEVER && is_long(task, w)) {
			if (defer(task, w, start, by))
				return;
			count(NOT_DEFERRED);
		}
		outcome = judge(slot, w, false, &ban, &pattern);
		if (by != NEVER && (outcome == UNDECIDED || awaits_container(task, outcome))) {
			if (defer(task, w, start, by))
				return;
			if (!is_long(task, w)) /* or it is counted already */
				count(NOT_DEFERRED);
		}
	}
	finish(task, w, outcome, ban, pattern, start, exec_time(start));
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

/* What a scan wants to know of a process. */
struct listed {
	struct process process;
	struct record record;
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
struct root host; /* as init sees it */

/* Lists the processes that nobody has judged by the rules in force, each with its
 * record. One that has none gets one, so that its children are known as such. */
SEC("iter/task")
int list_unjudged(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct listed *l;
	struct record *r;
	u32 zero = 0, tgid;

	if (!task || task->pid != task->tgid)
		return 0;
	tgid = task->tgid;
	if (task->flags & PF_KTHREAD || tgid == 1)
		return 0;
	l = bpf_map_lookup_elem(&listings, &zero);
	if (!l)
		return 0;
	r = record_of(tgid);
	if (!r || r->start_ns != task->start_boottime) {
		if (wanted_exec)
			return 0;
		__builtin_memset(&l->record, 0, sizeof(l->record));
		l->record.exec_ns = UNSEEN | ++unseen;
		l->record.start_ns = task->start_boottime;
		l->record.open = 1;
		bpf_map_update_elem(&records, &tgid, &l->record, r ? BPF_ANY : BPF_NOEXIST);
	} else {
		if (wanted_exec ? r->exec_ns != wanted_exec : r->generation == judged_generation && !r->open)
			return 0;
		l->record = *r;
		/* It executes just now, and so is judged. */
		if (!l->record.exec_ns || l->record.exec_ns != *(volatile u64 *)&r->exec_ns)
			return 0;
		r->open = 1;
	}
	describe_process(&l->process, task, &host);
	bpf_seq_write(ctx->meta->seq, l, sizeof(*l));
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
