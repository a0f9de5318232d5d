// SPDX-License-Identifier: GPL-3.0-or-later
/* Does nothing until it is killed, also as the first process of a container. */
#include <unistd.h>

int main(void)
{
	for (;;)
		pause();
}
