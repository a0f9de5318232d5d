/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The verdict of an exec stays with the process: what it executed, by which rules it
 * was judged, and a proof of its arguments. A fork inherits it; the end of the process
 * takes it away. A scan then judges only what nobody has judged by the rules in force,
 * and never by what a process has written over its own arguments since.
 *
 * It is a hash by thread group and not task storage, which Linux 5.10 lacks, threads
 * would need as well, and a fork would pay more for (docs/performance.md).
 */
#pragma once

#include "kernel.h"
#include "process.h"

#define RECORD_PATH 256

/* Decoded by record.go. Whoever writes it makes exec_ns 0 meanwhile. */
struct record {
	u64 exec_ns;	 /* when it was executed: tells the execs of a process apart */
	u64 start_ns;	 /* of the process: its id is used again */
	u64 arguments;	 /* their fingerprint, 0 if they could not be read */
	u64 arguments_len;
	struct file_id file;
	u32 generation; /* of the rules */
	u32 outcome;
	u32 open;     /* whether user space has to judge it still */
	u32 named;    /* whether the path leads to a file of another name */
	u32 path_len; /* 0 if it is longer than what is kept */
	u8 path[RECORD_PATH]; /* as it was executed */
};

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
		__sync_fetch_and_add(n, 1);
}

/* Chosen at random for each agent, so that nobody can make other arguments with the
 * same fingerprint. */
const volatile u64 fingerprint_seed;

#define FINGERPRINT_STEP 0x9e3779b97f4a7c15ULL
#define FINGERPRINT_CHUNK 4096
#define FINGERPRINT_MAX (64 * FINGERPRINT_CHUNK) /* bytes: whoever writes a title begins in front */

struct fingerprint {
	u64 hash;
	u64 key;
	u64 words[FINGERPRINT_CHUNK / 8];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct fingerprint);
} fingerprints SEC(".maps");

/* Both halves of a word, each with a key that nobody knows: whoever changes one does not
 * know by how much the product changes. Products wait for no other, unlike a chain. */
static __always_inline u64 mix(u64 word, u64 key)
{
	word += key;
	return (u64)(u32)word * (word >> 32);
}

/* Adds the first words of the buffer, two by two. A function of its own for the verifier,
 * which then looks at it once. */
__noinline int fold(u32 words)
{
	u64 hash, key, step = fingerprint_seed * FINGERPRINT_STEP | 1;
	u32 zero = 0;
	struct fingerprint *f = bpf_map_lookup_elem(&fingerprints, &zero);

	if (!f)
		return 0;
	hash = f->hash;
	key = f->key;
	for (u32 i = 0; i < FINGERPRINT_CHUNK / 8 - 1 && i < words; i += 2) {
		hash += mix(f->words[i], key);
		key += step;
		hash += mix(f->words[i + 1], key);
		key += step;
	}
	f->hash = hash;
	f->key = key;
	return 0;
}

/* The fingerprint of an area of user memory, 0 if it could not be read. Its twin is
 * fingerprint in record.go. Nobody else may run on the CPU meanwhile. */
__noinline u64 fingerprint_of(u64 from, u64 to)
{
	u32 zero = 0;
	struct fingerprint *f = bpf_map_lookup_elem(&fingerprints, &zero);

	if (!f)
		return 0;
	f->hash = fingerprint_seed ^ (to - from);
	f->key = fingerprint_seed;
	if (to - from > FINGERPRINT_MAX)
		to = from + FINGERPRINT_MAX;
	for (u32 i = 0; i < FINGERPRINT_MAX / FINGERPRINT_CHUNK && from < to; i++) {
		u64 n = to - from;

		if (n >= FINGERPRINT_CHUNK) {
			n = FINGERPRINT_CHUNK;
		} else {
			/* the rest of the last two words */
			f->words[(n >> 3) & (FINGERPRINT_CHUNK / 8 - 1)] = 0;
			f->words[((n >> 3) + 1) & (FINGERPRINT_CHUNK / 8 - 1)] = 0;
			if (!n)
				break;
		}
		if (bpf_probe_read_user(f->words, n & (2 * FINGERPRINT_CHUNK - 1), (void *)from))
			return 0;
		fold((n + 7) >> 3);
		from += n;
	}
	return f->hash;
}

static __always_inline struct record *record_of(u32 tgid)
{
	return bpf_map_lookup_elem(&records, &tgid);
}

/* The record of a process that is under way to a new program, to be filled in. */
static __always_inline struct record *record_for_exec(struct task_struct *task)
{
	u32 tgid = task->tgid, zero = 0;
	struct record *r = record_of(tgid);
	struct fingerprint *f;

	if (r)
		return r;
	/* Anything that is as long: all of it is written over. */
	f = bpf_map_lookup_elem(&fingerprints, &zero);
	if (!f)
		return 0;
	f->hash = 0; /* where exec_ns is */
	if (bpf_map_update_elem(&records, &tgid, f, BPF_ANY))
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
		__sync_fetch_and_add(killed, 1);
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(inherit_record, struct task_struct *parent, struct task_struct *child)
{
	u32 tgid = child->tgid;
	struct record *r;

	if (tgid == parent->tgid)
		return 0; /* a thread */
	r = record_of(parent->tgid);
	if (!r || r->start_ns != parent->group_leader->start_boottime)
		return 0;
	if (r->open)
		end_line(r->exec_ns, child);
	if (bpf_map_update_elem(&records, &tgid, r, BPF_ANY)) {
		lose_record();
		return 0;
	}
	r = record_of(tgid);
	if (r)
		r->start_ns = child->start_boottime;
	return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(drop_record, struct task_struct *task)
{
	u32 tgid = task->tgid;

	if (!task->signal->live.counter)
		bpf_map_delete_elem(&records, &tgid);
	return 0;
}
