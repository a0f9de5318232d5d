//go:build ignore

// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Samples the SSE rounding mode of threads as they are switched out.
 *
 * The kernel saves a thread's FPU registers before another thread runs, and then
 * fires x86_fpu_regs_deactivated. Nearly every thread is always in the nearest
 * mode, and costs a look at a table here. A thread seen in another mode is of
 * interest for a while: its samples, of all modes, go to user space.
 *
 * The scheduler holds its lock here, so nothing may allocate or sleep.
 */
#include "kernel.h"
#include "process.h"

#define PF_KTHREAD 0x00200000
#define FEATURE_SSE 2 /* in xfeatures */
#define MODE_SHIFT 13 /* of the rounding control in MXCSR */
#define THREAD_SIZE 16384 /* of a kernel stack */
#define NEW_PROGRAM 4 /* instead of a mode */

const volatile u64 interest_ns; /* wall time */
const volatile u64 spacing_ns;	/* of a thread's CPU time */
const volatile bool has_task_pt_regs;

/* Decoded in sample.go. */
struct sample {
	u64 at_ns;	      /* monotonic */
	u64 cpu_ns;	      /* of the thread */
	u64 ip;		      /* of the interrupted instruction */
	u64 process_start_ns; /* since boot */
	u64 thread_start_ns;
	u64 cgroup_id;
	u32 pid;
	u32 tid;
	u32 cpu;
	u32 mode;
};

const struct sample *unused_sample __attribute__((unused));
const enum counter *unused_counter __attribute__((unused));

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} samples SEC(".maps");

/* The threads of interest, by thread id. One that is evicted is of interest
 * again at its next sample in another mode than the nearest. */
struct interest {
	u64 start_ns; /* of the thread: its id is used again */
	u64 until_ns;
	u64 cpu_ns; /* at the last sample */
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, u32);
	__type(value, struct interest);
} interests SEC(".maps");

/* Whether a thread may be of interest, by the last bits of its id: a look at it
 * is all that nearly every switch costs. */
#define MAYBE_BITS 16
u8 maybe[1 << MAYBE_BITS];

static __always_inline u8 *maybe_interest(u32 tid)
{
	return &maybe[tid & ((1 << MAYBE_BITS) - 1)];
}

enum counter {
	SAMPLED,     /* samples sent */
	LOST_SAMPLE, /* that found the ring buffer full */
	COUNTERS,
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNTERS);
	__type(key, u32);
	__type(value, u64);
} counters SEC(".maps");

static __always_inline void count(u32 which)
{
	u64 *n = bpf_map_lookup_elem(&counters, &which);

	if (n)
		(*n)++;
}

static __always_inline u32 rounding_mode(struct fpu *fpu)
{
	struct xregs_state *x;

	if (bpf_core_field_exists(struct fpu, fpstate))
		x = &fpu->fpstate->regs.xsave;
	else
		x = &((struct fpu___5_15 *)fpu)->state.xsave;
	/* XSAVE leaves out SSE state that is in its initial form, which includes
	 * MXCSR in the nearest mode (Intel SDM volume 1, 13.6). */
	if (!(x->header.xfeatures & FEATURE_SSE))
		return 0;
	return x->i387.mxcsr >> MODE_SHIFT & 3;
}

/* The registers with which a thread left user mode. */
static __always_inline struct pt_regs *user_regs(struct task_struct *task)
{
	if (has_task_pt_regs)
		return (struct pt_regs *)bpf_task_pt_regs(bpf_get_current_task_btf());
	/* Before 5.15 (dd6e10fbd9fb) at the end of the stack. */
	return BPF_CORE_READ(task, stack) + THREAD_SIZE - bpf_core_type_size(struct pt_regs);
}

/* The thread that is switched out is or was in a directed mode, or one like it
 * was. */
static __noinline int take_sample(u32 mode)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	u64 now = bpf_ktime_get_ns(), id = bpf_get_current_pid_tgid(), start, cpu;
	struct pt_regs *regs = user_regs(task);
	struct interest *known, fresh = {};
	struct sample *s;
	u32 tid = id;

	/* In a system call, it would count for as long as the thread sleeps. */
	if ((long)BPF_CORE_READ(regs, orig_ax) >= 0)
		return 0;
	start = BPF_CORE_READ(task, start_boottime);
	cpu = BPF_CORE_READ(task, se.sum_exec_runtime);
	known = bpf_map_lookup_elem(&interests, &tid);
	if (known && known->start_ns == start) {
		if (!mode && now > known->until_ns) {
			bpf_map_delete_elem(&interests, &tid);
			*maybe_interest(tid) = 0;
			return 0;
		}
		if (cpu - known->cpu_ns < spacing_ns)
			return 0;
		known->cpu_ns = cpu;
		if (mode)
			known->until_ns = now + interest_ns;
	} else {
		if (!mode)
			return 0;
		fresh.start_ns = start;
		fresh.cpu_ns = cpu;
		fresh.until_ns = now + interest_ns;
		bpf_map_update_elem(&interests, &tid, &fresh, BPF_ANY);
		*maybe_interest(tid) = 1;
	}

	s = bpf_ringbuf_reserve(&samples, sizeof(*s), 0);
	if (!s) {
		count(LOST_SAMPLE);
		return 0;
	}
	s->at_ns = now;
	s->cpu_ns = cpu;
	s->ip = BPF_CORE_READ(regs, ip);
	s->process_start_ns = BPF_CORE_READ(task, group_leader, start_boottime);
	s->thread_start_ns = start;
	s->cgroup_id = BPF_CORE_READ(task_cgroup(task), id);
	s->pid = id >> 32;
	s->tid = tid;
	s->cpu = bpf_get_smp_processor_id();
	s->mode = mode;
	bpf_ringbuf_submit(s, 0);
	count(SAMPLED);
	return 0;
}

SEC("tp_btf/x86_fpu_regs_deactivated")
int BPF_PROG(sample_mode, struct fpu *fpu)
{
	u32 mode = rounding_mode(fpu);

	if (mode || *maybe_interest(bpf_get_current_pid_tgid()))
		take_sample(mode);
	return 0;
}

/* A new program begins in the nearest mode. What its predecessor did is not its
 * doing. */
SEC("tp_btf/sched_process_exec")
int BPF_PROG(forget_program, struct task_struct *task)
{
	u32 tid = task->pid;
	struct sample *s;

	if (bpf_map_delete_elem(&interests, &tid))
		return 0;
	s = bpf_ringbuf_reserve(&samples, sizeof(*s), 0);
	if (!s) {
		count(LOST_SAMPLE);
		return 0;
	}
	__builtin_memset(s, 0, sizeof(*s));
	s->process_start_ns = BPF_CORE_READ(task, group_leader, start_boottime);
	s->pid = task->tgid;
	s->mode = NEW_PROGRAM;
	bpf_ringbuf_submit(s, 0);
	return 0;
}

char _license[] SEC("license") = "GPL";
