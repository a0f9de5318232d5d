/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Finds the text of a shell's -c. It corresponds to shellText in internal/match. */
#pragma once

#include "kernel.h"
#include "feed.bpf.h"

#define SHELL_NAME 256	  /* bytes of a path or argv[0] whose end is compared */
#define SHELL_OPTIONS 256 /* maxShellOptions in internal/match */
#define TEXT_CHUNKS 40	  /* of a text: the kernel allows 128 KiB of one argument */

/* Whether the path of len bytes in buf ends with the name of a shell, or with one after "-" as
 * the argv[0] of a login shell. */
__noinline int ends_with_shell(u32 slot, u32 from, u32 len)
{
	struct walk *w = walk_at(slot);
	u64 tail;

	if (!w || len >= SHELL_NAME)
		return 0;
	/* The last 8 bytes, the last one lowest; NULs before the first. */
	tail = *(u64 *)(w->buf + ((from + (len > 8 ? len - 8 : 0)) & (2 * CHUNK - 1)));
	tail = __builtin_bswap64(tail);
	if (len < 8)
		tail >>= 8 * (8 - len);
	for (int i = 0; i < MAX_SHELLS; i++) {
		u64 before;

		if (!shells[i].bits || (tail ^ shells[i].name) << (64 - shells[i].bits))
			continue;
		before = tail >> shells[i].bits;
		if ((u8)before == '-')
			before >>= 8;
		if ((u8)before == '/' || !before)
			return 1;
	}
	return 0;
}

enum follows {
	OPTIONS,
	TEXT,
	NEITHER,
};

/* Follows the options of a shell by a byte, and says what follows. */
__noinline int follow_option(u32 slot, u32 byte)
{
	struct walk *w = walk_at(slot);
	struct shell_options *o;

	if (!w)
		return NEITHER;
	o = &w->options;
	if (!byte) {
		if (!o->within && !o->value) /* an empty argument */
			return NEITHER;
		o->value = o->valued;
		o->valued = false;
		o->within = false;
		return OPTIONS;
	}
	if (!o->within) {
		o->within = true;
		o->first = !o->value;
		o->dash = !o->value && byte == '-';
		o->plus = !o->value && byte == '+';
		if (o->value || o->dash || o->plus)
			return OPTIONS;
		return o->commands ? TEXT : NEITHER;
	}
	if (o->first && o->dash && byte == '-')
		o->dash = false; /* a long option */
	o->first = false;
	if (o->dash && byte == 'c')
		o->commands = true;
	if ((o->dash || o->plus) && (byte == 'o' || byte == 'O'))
		o->valued = true;
	return OPTIONS;
}

/* Finds where the text begins, in the n bytes behind argv[0] that are in buf. */
__noinline u32 find_text_begin(u32 slot, u32 n)
{
	struct walk *w = walk_at(slot);

	if (!w)
		return SHELL_OPTIONS;
	__builtin_memset(&w->options, 0, sizeof(w->options));
	for (u64 i = 0; i < SHELL_OPTIONS && i < n; i++) {
		int follows = follow_option(slot, w->buf[OTHER_AT + i]);

		if (follows != OPTIONS)
			return follows == TEXT ? i : SHELL_OPTIONS;
	}
	return SHELL_OPTIONS;
}

/* Follows the text by a chunk. Returns whether it goes on. */
static __always_inline bool follow_text(u32 slot, struct walk *w, bool later)
{
	u64 n;
	u32 end;

	w->addr = w->text_end;
	n = next_in_page(w);
	w->held = 0;
	if (copy_from_user(w->buf + ARGS_AT, n, w->addr, later)) {
		w->unreadable = true;
		return false;
	}
	end = find_nul(slot, n);
	if (has_any(slot, ARGS_AT, end, BYTES(' ', '\t', '\n')))
		w->options.several = true;
	w->text_end += end;
	return end == n && w->text_end < w->args_end;
}

static __always_inline void follow_text_later(u32 slot);

/* Finds the text of a shell's -c, if it has several words: w->text, 0 if there is none. */
static __always_inline void find_text(u32 slot, struct walk *w, bool later)
{
	u64 n;
	u32 at;

	w->text = 0;
	if (w->rest >= w->args_end)
		return;
	if (!w->path_len || !ends_with_shell(slot, PATH_AT, w->path_len)) {
		n = w->rest - w->args;
		if (n >= SHELL_NAME)
			return;
		if (copy_from_user(w->buf + OTHER_AT, n & (SHELL_NAME - 1), w->args, later)) {
			w->unreadable = true;
			return;
		}
		if (!ends_with_shell(slot, OTHER_AT, n))
			return;
	}
	n = w->args_end - w->rest - 1;
	if (n > SHELL_OPTIONS)
		n = SHELL_OPTIONS;
	barrier_var(n);
	if (copy_from_user(w->buf + OTHER_AT, n & (2 * SHELL_OPTIONS - 1), w->rest + 1, later)) {
		w->unreadable = true;
		return;
	}
	at = find_text_begin(slot, n);
	if (at >= SHELL_OPTIONS)
		return;
	w->text_end = w->rest + 1 + at;
	if (later)
		follow_text_later(slot);
	else
		for (u64 i = 0; i < TEXT_CHUNKS; i++)
			if (!follow_text(slot, w, false))
				break;
	if (w->options.several && !w->unreadable)
		w->text = w->rest + 1 + at;
}

/* The same without sleeping. */
__noinline int find_text_now(u32 slot)
{
	struct walk *w = walk_at(slot);

	if (w)
		find_text(slot, w, false);
	return 0;
}
