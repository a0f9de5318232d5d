/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The machine code of double loop(long n, double sum, double more), which adds n
 * times. */
#pragma once

#if defined(__x86_64__)
static const unsigned char loop[] = {
	0xf2, 0x0f, 0x58, 0xc1, /* addsd %xmm1, %xmm0 */
	0x48, 0xff, 0xcf,	/* dec %rdi */
	0x75, 0xf7,		/* jnz to the start */
	0xc3,			/* ret */
};
#elif defined(__aarch64__)
static const unsigned int loop[] = {
	0x1e612800, /* fadd d0, d0, d1 */
	0xf1000400, /* subs x0, x0, #1 */
	0x54ffffc1, /* b.ne to the start */
	0xd65f03c0, /* ret */
};
#endif
