//go:build ignore

// SPDX-License-Identifier: GPL-2.0-or-later
/* The types of verdict.h, for bpf2go. */
#include "verdict.h"

const struct event_head *unused_head __attribute__((unused));
const struct ancestor *unused_ancestor __attribute__((unused));
const enum way_up *unused_way_up __attribute__((unused));
const enum outcome *unused_outcome __attribute__((unused));
const enum counter *unused_counter __attribute__((unused));
