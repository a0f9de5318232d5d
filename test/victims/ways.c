// SPDX-License-Identifier: GPL-3.0-or-later
/* Connects and sends a miner's words in one of many ways: ways WAY ADDRESS PORT. Then it stays
 * for a while. It exits with 77 if the kernel does not have that way. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/io_uring.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif
#ifndef MSG_ZEROCOPY
#define MSG_ZEROCOPY 0x4000000
#endif
#ifndef SO_ZEROCOPY
#define SO_ZEROCOPY 60
#endif
#ifndef TCP_FASTOPEN_CONNECT
#define TCP_FASTOPEN_CONNECT 30
#endif
#ifndef IORING_RECVSEND_FIXED_BUF
#define IORING_RECVSEND_FIXED_BUF (1U << 2)
#endif
#define URING_SEND_ZC 47 /* IORING_OP_SEND_ZC, since 6.0 */
#define MISSING 77
#define REFUSED 10

static const char words[] = "{\"id\": 1, \"method\": \"mining.subscribe\", \"params\": [\"cpuminer/2.5.1\"]}\n";
#define LEN (sizeof(words) - 1)

static struct sockaddr_storage to;
static socklen_t to_len;
static const char *way, *program;

static int is(const char *name)
{
	return !strcmp(way, name);
}

static void missing(void)
{
	if (errno == ENOSYS || errno == EPROTONOSUPPORT || errno == EOPNOTSUPP || errno == EINVAL ||
	    errno == ENOPROTOOPT)
		exit(MISSING);
	sleep(5); /* where the agent kills, it needs a moment */
	exit(REFUSED);
}

static void must(int ok)
{
	if (!ok)
		missing();
}

/* ---- io_uring, by its system calls */
static struct io_uring_sqe *sqes;
static unsigned int *sq_tail, *sq_mask, *sq_array, *cq_head, *cq_tail, *cq_mask;
static struct io_uring_cqe *cqes;
static int ring = -1;
static int polled;

static void ring_open(int flags)
{
	struct io_uring_params p;
	char *sq, *cq;

	memset(&p, 0, sizeof(p));
	p.flags = flags;
	p.sq_thread_idle = 1000;
	ring = syscall(__NR_io_uring_setup, 4, &p);
	if (ring < 0)
		exit(MISSING);
	polled = flags & IORING_SETUP_SQPOLL;
	sq = mmap(0, p.sq_off.array + p.sq_entries * 4, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQ_RING);
	cq = mmap(0, p.cq_off.cqes + p.cq_entries * sizeof(*cqes), PROT_READ | PROT_WRITE, MAP_SHARED, ring,
		  IORING_OFF_CQ_RING);
	sqes = mmap(0, p.sq_entries * sizeof(*sqes), PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQES);
	must(sq != MAP_FAILED && cq != MAP_FAILED && (void *)sqes != MAP_FAILED);
	sq_tail = (void *)(sq + p.sq_off.tail);
	sq_mask = (void *)(sq + p.sq_off.ring_mask);
	sq_array = (void *)(sq + p.sq_off.array);
	cq_head = (void *)(cq + p.cq_off.head);
	cq_tail = (void *)(cq + p.cq_off.tail);
	cq_mask = (void *)(cq + p.cq_off.ring_mask);
	cqes = (void *)(cq + p.cq_off.cqes);
}

static int ring_do(struct io_uring_sqe *e)
{
	unsigned int at = *sq_tail & *sq_mask;
	int res;

	sqes[at] = *e;
	sq_array[at] = at;
	__atomic_store_n(sq_tail, *sq_tail + 1, __ATOMIC_RELEASE);
	syscall(__NR_io_uring_enter, ring, polled ? 0 : 1, polled ? 0 : 1,
		IORING_ENTER_GETEVENTS | (polled ? IORING_ENTER_SQ_WAKEUP : 0), 0, 0);
	for (int i = 0; i < 2000 && __atomic_load_n(cq_tail, __ATOMIC_ACQUIRE) == *cq_head; i++)
		usleep(1000);
	res = cqes[*cq_head & *cq_mask].res;
	__atomic_store_n(cq_head, *cq_head + 1, __ATOMIC_RELEASE);
	errno = res < 0 ? -res : 0;
	return res;
}

static int ring_flags(void)
{
	return strstr(way, "sqpoll") ? IORING_SETUP_SQPOLL : 0;
}

/* ---- to connect */
/* Options of IP stand before the head of TCP. */
static void set_options(int fd)
{
	unsigned char four[] = {1, 1, 1, 1}, six[] = {0, 0, 1, 4, 0, 0, 0, 0};

	if (to.ss_family == AF_INET || IN6_IS_ADDR_V4MAPPED(&((struct sockaddr_in6 *)&to)->sin6_addr))
		must(!setsockopt(fd, IPPROTO_IP, IP_OPTIONS, four, sizeof(four)));
	else
		must(!setsockopt(fd, IPPROTO_IPV6, IPV6_DSTOPTS, six, sizeof(six)));
}

static void *connect_in_thread(void *fd)
{
	return (void *)(long)connect(*(int *)fd, (void *)&to, to_len);
}

static int connected(void)
{
	int one = 1, fd = socket(to.ss_family, SOCK_STREAM, is("mptcp") ? IPPROTO_MPTCP : 0), err = 0;

	must(fd >= 0);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (is("options"))
		set_options(fd);
	if (is("connect nonblocking")) {
		struct pollfd p = {.fd = fd, .events = POLLOUT};

		fcntl(fd, F_SETFL, O_NONBLOCK);
		err = connect(fd, (void *)&to, to_len);
		if (err && errno == EINPROGRESS)
			err = poll(&p, 1, 2000) != 1;
		fcntl(fd, F_SETFL, 0);
	} else if (is("connect in a thread")) {
		pthread_t t;
		void *res;

		must(!pthread_create(&t, 0, connect_in_thread, &fd));
		pthread_join(t, &res);
		err = res != 0;
	} else if (!strncmp(way, "uring connect", 13)) {
		struct io_uring_sqe e = {
			.opcode = IORING_OP_CONNECT, .fd = fd, .addr = (unsigned long)&to, .off = to_len};

		ring_open(ring_flags());
		if (strstr(way, "async"))
			e.flags = IOSQE_ASYNC;
		err = ring_do(&e) < 0;
	} else if (is("fastopen connect")) {
		must(!setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &one, sizeof(one)));
		err = connect(fd, (void *)&to, to_len);
	} else if (is("fastopen")) {
		err = sendto(fd, words, LEN, MSG_FASTOPEN, (void *)&to, to_len) < 0;
		must(!err);
		return -1;
	} else {
		err = connect(fd, (void *)&to, to_len);
	}
	must(!err);
	return fd;
}

/* ---- to send */
static int a_file(void)
{
	int fd = memfd_create("words", 0);

	must(fd >= 0 && write(fd, words, LEN) == LEN);
	lseek(fd, 0, SEEK_SET);
	return fd;
}

static void pass(int fd)
{
	char control[CMSG_SPACE(sizeof(int))], c = 0;
	struct iovec v = {&c, 1};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
	struct cmsghdr *h;
	int pair[2];

	must(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	h = CMSG_FIRSTHDR(&m);
	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(h), &fd, sizeof(int));
	if (fork()) {
		int status;

		must(sendmsg(pair[0], &m, 0) == 1);
		close(fd);
		wait(&status);
		if (WIFSIGNALED(status))
			raise(WTERMSIG(status)); /* the one that sent has died */
		exit(0);
	}
	must(recvmsg(pair[1], &m, 0) == 1);
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(int));
	must(write(fd, words, LEN) == LEN);
}

static void by_uring(int fd)
{
	struct iovec v = {(void *)words, LEN};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
	struct io_uring_sqe e = {.fd = fd, .addr = (unsigned long)words, .len = LEN};

	if (ring < 0)
		ring_open(ring_flags());
	if (strstr(way, "writev")) {
		e.opcode = IORING_OP_WRITEV;
		e.addr = (unsigned long)&v;
		e.len = 1;
	} else if (strstr(way, "fixed")) {
		v.iov_base = strdup(words); /* it must be writable */
		e.addr = (unsigned long)v.iov_base;
		must(!syscall(__NR_io_uring_register, ring, IORING_REGISTER_BUFFERS, &v, 1));
		e.opcode = IORING_OP_WRITE_FIXED;
	} else if (strstr(way, "write")) {
		e.opcode = IORING_OP_WRITE;
	} else if (strstr(way, "zero copy")) {
		e.opcode = URING_SEND_ZC;
	} else if (strstr(way, "sendmsg")) {
		e.opcode = IORING_OP_SENDMSG;
		e.addr = (unsigned long)&m;
		e.len = 1;
	} else {
		e.opcode = IORING_OP_SEND;
	}
	if (strstr(way, "async"))
		e.flags = IOSQE_ASYNC;
	must(ring_do(&e) == (int)LEN);
}

static void by_aio(int fd)
{
	struct iocb one = {.aio_fildes = fd,
			   .aio_lio_opcode = IOCB_CMD_PWRITE,
			   .aio_buf = (unsigned long)words,
			   .aio_nbytes = LEN};
	struct iocb *all[] = {&one};
	aio_context_t context = 0;

	must(!syscall(__NR_io_setup, 1, &context));
	must(syscall(__NR_io_submit, context, 1, all) == 1);
}

static void send_words(int fd)
{
	struct iovec v[2] = {{(void *)words, 20}, {(void *)words + 20, LEN - 20}};
	struct msghdr m = {.msg_iov = v, .msg_iovlen = 2};
	struct mmsghdr mm = {.msg_hdr = m};
	loff_t none = 0;
	int p[2];

	if (is("writev")) {
		must(writev(fd, v, 2) == (int)LEN);
	} else if (is("sendmsg")) {
		must(sendmsg(fd, &m, 0) == (int)LEN);
	} else if (is("sendmmsg")) {
		must(sendmmsg(fd, &mm, 1, 0) == 1);
	} else if (is("sendto")) {
		must(sendto(fd, words, LEN, 0, 0, 0) == (int)LEN);
	} else if (is("zero copy")) {
		int one = 1;

		must(!setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &one, sizeof(one)));
		must(send(fd, words, LEN, MSG_ZEROCOPY) == (int)LEN);
	} else if (is("sendfile")) {
		must(sendfile(fd, a_file(), 0, LEN) == (int)LEN);
	} else if (is("splice")) {
		must(!pipe(p) && splice(a_file(), &none, p[1], 0, LEN, 0) == (int)LEN);
		must(splice(p[0], 0, fd, 0, LEN, 0) == (int)LEN);
	} else if (is("vmsplice")) {
		must(!pipe(p) && vmsplice(p[1], v, 2, 0) == (int)LEN);
		must(splice(p[0], 0, fd, 0, LEN, 0) == (int)LEN);
	} else if (is("bytes")) {
		for (size_t i = 0; i < LEN; i++)
			must(send(fd, words + i, 1, MSG_NOSIGNAL) == 1);
	} else if (is("urgent byte")) {
		must(send(fd, words, 25, 0) == 25 && send(fd, "x", 1, MSG_OOB) == 1 &&
		     send(fd, words + 25, LEN - 25, 0) > 0);
	} else if (is("more")) {
		must(send(fd, words, 30, MSG_MORE) == 30 && send(fd, words + 30, LEN - 30, 0) > 0);
	} else if (is("aio")) {
		by_aio(fd);
	} else if (is("passed")) {
		pass(fd);
	} else if (is("inherited")) {
		char number[20];

		snprintf(number, sizeof(number), "%d", fd);
		execl(program, program, "inherit", number, "0", (char *)0);
	} else if (!strncmp(way, "uring", 5) && strncmp(way, "uring connect", 13)) {
		by_uring(fd);
	} else {
		must(write(fd, words, LEN) == (int)LEN);
	}
}

/* ---- without a connection */
static int is_datagram(void)
{
	return !strncmp(way, "udp", 3) || !strncmp(way, "raw", 3);
}

static void send_datagram(void)
{
	int type = is("raw tcp") || is("raw other") ? SOCK_RAW : SOCK_DGRAM;
	int protocol = is("raw tcp") ? IPPROTO_TCP : is("raw other") ? 253 : IPPROTO_UDP, fd;
	unsigned char packet[32] = {0};
	struct iovec v = {packet, sizeof(packet)};
	struct mmsghdr m = {.msg_hdr = {.msg_name = &to, .msg_namelen = to_len, .msg_iov = &v, .msg_iovlen = 1}};

	if (type == SOCK_RAW && to.ss_family == AF_INET6 &&
	    IN6_IS_ADDR_V4MAPPED(&((struct sockaddr_in6 *)&to)->sin6_addr))
		exit(MISSING);
	fd = socket(to.ss_family, type, protocol);
	must(fd >= 0);
	if (type == SOCK_RAW) { /* the ports of TCP; for the kernel of IPv6 the address has none */
		memcpy(packet + 2, &((struct sockaddr_in *)&to)->sin_port, 2);
		packet[12] = 5 << 4;
		((struct sockaddr_in *)&to)->sin_port = 0;
	}
	if (is("udp connect"))
		must(!connect(fd, (void *)&to, to_len) && send(fd, packet, sizeof(packet), 0) > 0);
	else if (is("udp sendmmsg"))
		must(sendmmsg(fd, &m, 1, 0) == 1);
	else
		must(sendto(fd, packet, sizeof(packet), 0, (void *)&to, to_len) > 0);
}

int main(int argc, char **argv)
{
	struct sockaddr_in *a4 = (void *)&to;
	struct sockaddr_in6 *a6 = (void *)&to;
	int fd;

	if (argc != 4)
		return 2;
	program = argv[0];
	way = argv[1];
	if (is("inherit")) {
		fd = atoi(argv[2]);
		must(write(fd, words, LEN) == (int)LEN);
		sleep(5);
		return 0;
	}
	if (inet_pton(AF_INET, argv[2], &a4->sin_addr) == 1) {
		a4->sin_family = AF_INET;
		a4->sin_port = htons(atoi(argv[3]));
		to_len = sizeof(*a4);
	} else {
		inet_pton(AF_INET6, argv[2], &a6->sin6_addr);
		a6->sin6_family = AF_INET6;
		a6->sin6_port = htons(atoi(argv[3]));
		to_len = sizeof(*a6);
	}
	if (is_datagram()) {
		send_datagram();
		sleep(5);
		return 0;
	}
	fd = connected();
	if (fd >= 0)
		send_words(fd);
	sleep(5);
	return 0;
}
