//go:build ignore

// SPDX-License-Identifier: GPL-2.0-or-later
/* The maps of the exemptions, which user space creates and fills. */
#include "exempt.h"

const enum cgroup_class *unused_class __attribute__((unused));
const struct exemptions *unused_exemptions __attribute__((unused));
