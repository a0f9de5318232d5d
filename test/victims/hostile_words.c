// SPDX-License-Identifier: GPL-3.0-or-later
/* hostile.c with the words of a miner. */
#define WORDS
#include "hostile.c"
