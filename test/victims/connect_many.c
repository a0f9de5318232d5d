// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Connects to the port argv[1] of the loopback argv[2] times, from argv[3] addresses in
 * turn, sends a request on each connection, and keeps the connections open. Then it prints
 * their number and sleeps.
 */
#include <arpa/inet.h>
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static int from(unsigned int address)
{
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(address)};
	struct timeval patience = {.tv_sec = 5};
	int s = socket(AF_INET, SOCK_STREAM, 0);

	if (s < 0 || bind(s, (struct sockaddr *)&any, sizeof(any)) ||
	    setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)))
		err(2, "a socket");
	return s;
}

int main(int argc, char **argv)
{
	static const char request[] = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
	struct sockaddr_in agent = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct rlimit limit;
	int addresses, made = 0;
	char answer[1024];

	if (argc != 4 || getrlimit(RLIMIT_NOFILE, &limit))
		return 2;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit))
		err(2, "raising the limit of descriptors");
	agent.sin_port = htons(atoi(argv[1]));
	addresses = atoi(argv[3]);
	for (int i = 0; i < atoi(argv[2]); i++) {
		int s = from(addresses > 1 ? INADDR_LOOPBACK + 256 + i % addresses : INADDR_LOOPBACK);

		if (connect(s, (struct sockaddr *)&agent, sizeof(agent))) {
			close(s);
			continue;
		}
		made++;
		/* The agent may close it for a newer one. */
		if (send(s, request, strlen(request), MSG_NOSIGNAL) > 0 && recv(s, answer, sizeof(answer), 0) < 0)
			continue;
	}
	printf("%d\n", made);
	fflush(stdout);
	for (;;)
		pause();
}
