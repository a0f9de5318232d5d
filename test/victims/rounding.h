/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Sets the rounding mode: n(earest), d(own), u(p), z(ero), or f: nearest, with
 * denormal numbers flushed to zero. */
#pragma once

#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <xmmintrin.h>

static inline void set_rounding(char mode)
{
	const char *letters = "nduz"; /* in the order of the hardware's encoding */
	const char *which = strchr(letters, mode);

	_mm_setcsr(0x1f80 | (which ? (which - letters) << 13 : 0x8040));
}
#elif defined(__aarch64__)
static inline void set_rounding(char mode)
{
	const char *letters = "nudz";
	const char *which = strchr(letters, mode);
	uint64_t fpcr = which ? (uint64_t)(which - letters) << 22 : 1 << 24;

	__asm__ volatile("msr fpcr, %0" : : "r"(fpcr));
}
#endif
