/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Carries out, keeps and reports the verdict on an exec. */
#pragma once

#include "kernel.h"
#include "record.h"
#include "verdict.h"
#include "event.bpf.h"
#include "fingerprint.bpf.h"

/* Set before other rules are put in place. A scan by those may have gone by before a verdict
 * by these is kept: it has to come again. Beside agent_inode, which each exec reads too. */
volatile bool outdated SEC(".data.rules");

const volatile u64 first_number; /* when these programs were loaded, in units of 1,024 ns since boot */

/* Names an exec that was not timed. Each takes longer than such a unit, so no program that is loaded later
 * gives the same number. There are at most 8,192 CPUs. */
static __always_inline u64 exec_number(struct walk *w)
{
	return UNTIMED | (first_number + ++w->execs) << 13 | (bpf_get_smp_processor_id() & 8191);
}

/* Whether user space has to decide. */
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

/* The number of a ban for the kill limit, 0 for none. */
static __always_inline u32 limit_rule(u32 ban)
{
	u32 index = (ban & ~IN_ENVIRONMENT) - 1;
	u32 *rule = bpf_map_lookup_elem(&limit_rules, &index);

	return rule ? *rule : 0;
}

/* Keeps the verdict with the process. */
static __always_inline void keep(u32 slot, struct task_struct *task, struct walk *w, enum outcome outcome, u64 exec_ns)
{
	struct record *r = record_for_exec(task, (struct record *)(w->buf + OTHER_AT));

	if (!r)
		return;
	*(volatile u64 *)&r->exec_ns = 0;
	r->open = is_open(outcome);
	r->start_ns = task->start_boottime; /* an exec makes it the leader */
	r->exec_id = task->self_exec_id;
	r->arguments_len = w->area_end - w->args;
	r->arguments = fingerprint_of(slot, w);
	r->generation = generation;
	r->outcome = outcome;
	for (u64 i = 0; i < RECORD_PATH && i < w->path_len; i += 8)
		*(u64 *)(r->path + i) = *(u64 *)(w->buf + PATH_AT + i);
	r->named = !!w->name;
	r->path_len = w->path_len;
	*(volatile u64 *)&r->exec_ns = exec_ns;
}

/* Carries out the verdict on an exec, and keeps and reports it. Preemption must be disabled. */
static __always_inline void finish(u32 slot, struct task_struct *task, struct walk *w, enum outcome outcome, u32 ban,
				   u32 pattern, u64 exec_ns)
{
	struct verdict v = {.outcome = outcome, .ban = ban, .pattern = pattern};
	struct file_id file;

	if (outcome != NO_MATCH) {
		identify_program(&file, task);
		v.outcome = decide(outcome, limit_rule(ban), task, &file, (const char *)w->path);
	}
	v.kill_error = carry_out(v.outcome);
	keep(slot, task, w, v.outcome, exec_ns);
	if (outdated)
		count(OUTDATED);
	if (outcome != NO_MATCH) {
		tell(&events, LOST_EVENT, task, w, &v, &file, exec_ns);
	} else if (log_execs) {
		identify_program(&file, task);
		tell(&execs, LOST_EXEC, task, w, &v, &file, exec_ns);
	}
}
