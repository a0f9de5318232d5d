/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The matcher of internal/match in the kernel. What a command line means is in
 * docs/matching.md.
 *
 *	judge → is_dismissed (dismiss.bpf.h), or → search_now, search_later → search → search_bans,
 *	      search_name, search_expressions → feed_all_argv0, feed_path, feed_args (feed.bpf.h)
 *	      → drain (a chunk: walk.bpf.h) → search_allowed → the same
 */
#pragma once

#include "kernel.h"
#include "verdict.h"
#include "dismiss.bpf.h"
#include "feed.bpf.h"
#include "shell.bpf.h"

/* Before the first symbol of a text. */
static __always_inline void restart(struct walk *w)
{
	w->state = 0;
	w->window = ~0ULL;
	w->misses = 0;
	w->shift = BEGINNING;
	w->pending = 0;
	w->open_kill = 0;
	w->open_observe = 0;
	w->triggered = false;
	w->runs = 0;
	w->words = 0;
}

/* Searches the bans in argv[0] and in the subject: walk->kill, walk->observe.
 * It corresponds to search in internal/match. */
static __always_inline void search_bans(u32 slot, struct walk *w, bool later)
{
	u32 state, misses, shift, pending;
	u64 window;

	restart(w);
	w->rest = w->args_end;
	w->rest_read = 0;
	feed_one(slot, w, ALL_EDGES);
	if (w->args < w->args_end) {
		w->args_end--; /* the last NUL */
		w->rest = w->args_end;
		feed_all_argv0(slot, w, later);
	}
	feed_one(slot, w, ALL_EDGES);
	feed_path(slot, w);

	/* A program's name ends here, but the subject goes on: look ahead. */
	state = w->state;
	window = w->window;
	misses = w->misses;
	shift = w->shift;
	pending = w->pending;
	feed_one(slot, w, ALL_EDGES);
	w->state = state;
	w->window = window;
	w->misses = misses;
	w->shift = shift;
	w->pending = pending;

	w->open_kill = 0;
	w->open_observe = 0;
	if (w->without_text) {
		feed_arguments(slot, w, later);
	} else if (w->rest < w->args_end) {
		w->pos = w->rest_pos;
		w->len = w->rest_pos + (w->rest_read - w->rest);
		pass(slot, w);
		w->addr = w->rest_read;
		feed_rest(slot, w, later);
	}
	feed_one(slot, w, 0);
}

/* Searches the bans in the name of the file: it is not what the path ends with, but what
 * the link leads to, or the descriptor. It corresponds to JudgeNamed in internal/match. */
__noinline int search_name(u32 slot)
{
	struct walk *w = walk_at(slot);
	bool triggered;
	u32 runs;
	long n;

	if (!w)
		return 0;
	if (ends_with_name(w, 0)) {
		w->name = 0;
		return 0;
	}
	n = bpf_probe_read_kernel_str(w->buf + OTHER_AT, FILE_NAME, (void *)w->name);
	if (n <= 1) {
		w->name = 0;
		return 0;
	}
	triggered = w->triggered;
	runs = w->runs;
	restart(w);
	feed_one(slot, w, ALL_EDGES);
	w->pos = OTHER_AT;
	w->len = OTHER_AT + n - 1;
	pass(slot, w);
	feed_one(slot, w, ALL_EDGES);
	feed_one(slot, w, 0);
	w->triggered = triggered; /* expressions are not searched in it */
	w->runs = runs;
	return 0;
}

/* The next text is searched for parts, until end_parts. */
static __always_inline void begin_parts(struct walk *w)
{
	__builtin_memset(&w->found, 0, sizeof(w->found));
	for (int k = 0; k < MAX_ALLOWS; k++)
		w->rows[k] = search_count > k ? search_start[k] : 0;
	w->mode = PARTS;
}

/* Takes a combination if all of its parts were found. */
__noinline int take_combination(u32 slot, u32 number)
{
	struct combination *c = bpf_map_lookup_elem(&combinations, &number);
	struct walk *w = walk_at(slot);
	u64 missing = 0;

	if (!c || !w || c->flags & w->ignored)
		return 0;
	for (int k = 0; k < SET_WORDS; k++)
		missing |= c->need.parts[k] & ~w->found.parts[k];
	if (!missing)
		take(w, c->ban, c->flags);
	return 0;
}

/* At the end of a text: takes the combinations of which all parts were found. */
__noinline int end_parts(u32 slot)
{
	struct walk *w = walk_at(slot);

	if (!w)
		return 0;
	w->mode = BANS;
	for (int k = 0; k < MAX_ALLOWS; k++)
		if (search_count > k)
			follow_row(slot, w->rows[k], search_end[k], k);
	for (u64 i = 0; i < MAX_COMBINATIONS && i < combination_count; i++)
		take_combination(slot, i);
	return 0;
}

/* Searches the bans of expressions in the subject. */
static __always_inline void search_expressions(u32 slot, struct walk *w, bool later)
{
	begin_parts(w);
	feed_path(slot, w);
	feed_arguments(slot, w, later);
	end_parts(slot);
}

/* The same without sleeping. */
__noinline int search_expressions_now(u32 slot)
{
	struct walk *w = walk_at(slot);

	if (w)
		search_expressions(slot, w, false);
	return 0;
}

/* Searches the bans that are for it in the environment. */
static __always_inline void search_environment(u32 slot, struct walk *w, bool later)
{
	restart(w);
	w->in_env = true;
	w->args_end = w->env < w->env_end ? w->env_end - 1 : w->env;
	w->addr = w->env;
	feed_rest(slot, w, later);
	feed_one(slot, w, 0);
	if (!w->kill && !w->unreadable && (w->triggered || w->runs)) {
		begin_parts(w);
		w->addr = w->env;
		feed_rest(slot, w, later);
		end_parts(slot);
	}
	w->in_env = false;
	w->args_end = w->args < w->area_end ? w->area_end - 1 : w->area_end; /* as search_bans left it */
}

/* The same without sleeping. */
__noinline int search_environment_now(u32 slot)
{
	struct walk *w = walk_at(slot);

	if (w)
		search_environment(slot, w, false);
	return 0;
}

/* Searches all bans that are not ignored. It corresponds to searchOnce in internal/match. */
static __always_inline void search(u32 slot, struct walk *w, bool later)
{
	w->args_end = w->area_end;
	search_bans(slot, w, later);
	if (w->name && !w->kill)
		search_name(slot);
	if (!w->kill && !w->unreadable && (w->triggered || w->runs)) {
		if (later)
			search_expressions(slot, w, true);
		else
			search_expressions_now(slot);
	}
	if (search_env && w->env_end && !w->kill && !w->unreadable) {
		if (later)
			search_environment(slot, w, true);
		else
			search_environment_now(slot);
	}
}

static __always_inline void search_later(u32 slot);

/* The same without sleeping. */
__noinline int search_now(u32 slot)
{
	struct walk *w = walk_at(slot);

	if (w)
		search(slot, w, false);
	return 0;
}

bool texts_of_node_root; /* for judge_texts */

static __always_inline bool is_exempt_root(struct task_struct *task)
{
	return task ? is_node_root(task) : texts_of_node_root;
}

/* What spares a process, in the place of an allow pattern. */
#define BY_SHELL (~0U)
#define BY_NODE_ROOT (~0U - 1)

/* Searches again for the bans that apply to a shell and are not ignored: those that do not
 * spare shells, and the others without the shell's text. */
static __always_inline void search_applying(u32 slot, struct walk *w, u32 ignored, bool later)
{
	w->kill = 0;
	w->observe = 0;
	for (int i = 0; i < 2 && !w->kill; i++) {
		if (!i && !w->text)
			continue;
		w->ignored = i ? ignored : ignored | SPARES_SHELLS;
		w->without_text = i && w->text;
		if (later)
			search_later(slot);
		else
			search_now(slot);
	}
	w->without_text = false;
	w->ignored = 0;
}

static __always_inline u32 first_ban(struct walk *w)
{
	return w->kill ? w->kill : w->observe;
}

static __always_inline u32 spares_of_first(struct walk *w)
{
	return (w->kill ? w->kill_flags : w->observe_flags) & (SPARES_SHELLS | SPARES_NODE_ROOT);
}

/* Leaves the bans that apply to this process. If there are none but such as spare it, they are
 * left, and this returns why. It corresponds to search in internal/match. */
static __always_inline u32 spare(u32 slot, struct walk *w, struct task_struct *task, bool later)
{
	bool unreadable = w->unreadable;
	u32 kill, observe;

	w->unreadable = false;
	if (later)
		find_text(slot, w, true);
	else
		find_text_now(slot);
	if (w->unreadable) {
		w->kill = 0; /* undecided */
		return 0;
	}
	w->unreadable = unreadable;
	for (int i = 0; i < 2; i++) {
		u32 who = i ? SPARES_NODE_ROOT : SPARES_SHELLS;

		if (!(spares_of_first(w) & who) || (i ? !is_exempt_root(task) : !w->text))
			continue;
		kill = w->kill;
		observe = w->observe;
		search_applying(slot, w, i ? who : 0, later);
		if (first_ban(w))
			continue;
		w->kill = kill;
		w->observe = observe;
		return i ? BY_NODE_ROOT : BY_SHELL;
	}
	return 0;
}

/* Searches an allow pattern that matches the subject, as far as one still may.
 * Returns 1 + the pattern, 0 for none. */
static __always_inline u32 search_allows(u32 slot, struct walk *w, bool later)
{
	u32 pattern = 0;

	w->kill = 0;
	w->mode = ALLOWS;
	for (int k = 0; k < MAX_ALLOWS; k++)
		w->rows[k] = allow_count > k ? allow_start[k] : 0;
	if (allow_alive(w))
		feed_path(slot, w);
	w->addr = w->rest;
	if (allow_alive(w))
		feed_rest(slot, w, later);
	w->mode = BANS;
	if (w->unreadable)
		return 0;
#pragma unroll
	for (int k = 0; k < MAX_ALLOWS; k++)
		if (!pattern && w->rows[k])
			pattern = allow_entry(w->rows[k] + allow_accept[k]);
	return pattern;
}

__noinline u32 search_allowed(u32 slot)
{
	struct walk *w = walk_at(slot);

	return w ? search_allows(slot, w, false) : 0;
}

/* Puts the command line of a task into its walk. */
static __always_inline void begin_walk(struct walk *w, struct task_struct *task, const char *path)
{
	w->path = (u64)path;
	w->name = 0;
	w->path_in_user = false;
	w->path_len = 0;
	w->held = 0;
	w->folded = false;
	w->began_ns = 0;
	w->args = task->mm->arg_start;
	w->args_end = w->area_end = task->mm->arg_end;
	w->env = task->mm->env_start;
	w->env_end = task->mm->env_end;
}

/* When the judgement began, for the log. What is dismissed goes without: a look at the clock would be a
 * tenth of it. */
static __always_inline void begin_clock(struct walk *w)
{
	if (!w->began_ns)
		w->began_ns = bpf_ktime_get_ns();
}

/* Has the name of the file that the task executes judged as well. */
static __always_inline void add_name(struct walk *w, struct task_struct *task)
{
	struct dentry *dentry = task->mm->exe_file->f_path.dentry;

	w->name = (u64)dentry->d_name.name;
	w->name_len = dentry->d_name.len;
}

/* Judges the command line that the caller has put into the slot's walk. *ban is 1 +
 * the ban that decides, *pattern 1 + the allow pattern; 0 where there is none. later is
 * for callers that may sleep. */
static __always_inline enum outcome judge(u32 slot, struct walk *w, struct task_struct *task, bool later, u32 *ban,
					  u32 *pattern)
{
	u32 kill, spared;

	w->path_len = hold_path(w);
	w->kill = 0;
	w->observe = 0;
	w->ignored = 0;
	w->in_env = false;
	w->without_text = false;
	w->mode = BANS;
	*ban = *pattern = 0;
	if (!later && is_dismissed(slot, w, task))
		return NO_MATCH;
	begin_clock(w);
	w->unreadable = false;
	if (later)
		search_later(slot);
	else
		search_now(slot);
	spared = first_ban(w) && spares_of_first(w) ? spare(slot, w, task, later) : 0;
	kill = w->kill;
	*ban = first_ban(w);
	if (spared && !w->unreadable) {
		*pattern = spared;
		return spared == BY_SHELL ? ALLOWED : EXEMPT;
	}
	/* What was not read may hold a ban that kills. */
	if ((!kill || spared) && w->unreadable)
		return UNDECIDED;
	if (!*ban)
		return NO_MATCH;
	*pattern = later ? search_allows(slot, w, true) : search_allowed(slot);
	if (*pattern)
		return ALLOWED;
	/* It may also make an allow pattern match, if one still can. */
	if (w->unreadable && allow_alive(w))
		return UNDECIDED;
	return kill ? BANNED : OBSERVED;
}
