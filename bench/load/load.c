// load drives one server and measures. It is written in C so that it costs little beside what it measures.
//
//	load MODE ADDRESS CONNECTIONS ACTIVE SECONDS
//
// MODE is echo (ACTIVE of the connections have 64 bytes under way at any time), conn (connect and close, one after the other), connreq
// (connect, one echo, close), stream (64 KiB writes on each connection), or idle (one echo on each connection, and nothing more). ADDRESS
// is a path or a port of 127.0.0.1. After a warm-up it prints "start"; at the end "OPERATIONS NANOSECONDS P50 P99", the times in
// nanoseconds, 0 where they are not measured.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { size = 64, chunk = 64 << 10, buckets = 1 << 16 };

static const char *address;
static long long sent[1 << 20]; // when each descriptor's request was sent
static long histogram[buckets]; // in steps of 100 ns; the last one holds what took longer

static void fail(const char *what) {
	fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
	exit(1);
}

static long long now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int dial(void) {
	int fd;
	if (address[0] == '/') {
		struct sockaddr_un a = {.sun_family = AF_UNIX};
		strncpy(a.sun_path, address, sizeof a.sun_path - 1);
		if ((fd = socket(AF_UNIX, SOCK_STREAM, 0)) < 0 || connect(fd, (void *)&a, sizeof a) < 0)
			fail("connect");
		return fd;
	}
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(atoi(address)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int one = 1;
	if ((fd = socket(AF_INET, SOCK_STREAM, 0)) < 0)
		fail("socket");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if (connect(fd, (void *)&a, sizeof a) < 0)
		fail("connect");
	return fd;
}

// hang_up closes a TCP connection with a reset, or the ports of 127.0.0.1 would soon all be in TIME_WAIT.
static void hang_up(int fd) {
	struct linger l = {1, 0};
	if (address[0] != '/')
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
	close(fd);
}

static void echo(int fd, char *b) {
	if (write(fd, b, size) != size || read(fd, b, size) != size)
		fail("echo");
}

static long long percentile(long total, double p) {
	long seen = 0;
	for (int i = 0; i < buckets; i++)
		if ((seen += histogram[i]) >= total * p)
			return i * 100 + 50;
	return 0;
}

static void start(void) {
	printf("start\n");
	fflush(stdout);
}

static void finish(long ops, long long took, int timed) {
	printf("%ld %lld %lld %lld\n", ops, took, timed ? percentile(ops, 0.5) : 0, timed ? percentile(ops, 0.99) : 0);
	fflush(stdout);
	exit(0);
}

int main(int argc, char **argv) {
	if (argc != 6) {
		fprintf(stderr, "usage: load MODE ADDRESS CONNECTIONS ACTIVE SECONDS\n");
		return 2;
	}
	const char *mode = argv[1];
	address = argv[2];
	int connections = atoi(argv[3]), active = atoi(argv[4]);
	long long length = atof(argv[5]) * 1e9, warm = length / 4;
	static char b[chunk];
	struct rlimit files;
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	int *fds = calloc(connections + 1, sizeof *fds);
	long ops = 0;
	int warming = 1;
	if (!strncmp(mode, "conn", 4)) {
		int request = !strcmp(mode, "connreq");
		for (long long t0 = now();;) {
			long long t = now();
			if (warming && t - t0 > warm) {
				warming = 0, ops = 0, t0 = t;
				start();
			} else if (!warming && ops && t - t0 > length)
				finish(ops, t - t0, 0);
			for (int i = 0; i < 50; i++, ops++) {
				int fd = dial();
				if (request)
					echo(fd, b);
				hang_up(fd);
			}
		}
	}
	int ep = epoll_create1(0), stream = !strcmp(mode, "stream");
	for (int i = 0; i < connections; i++) {
		int fd = fds[i] = dial();
		if (fd >= (int)(sizeof sent / sizeof *sent)) {
			errno = EMFILE;
			fail("connect");
		}
		if (!stream)
			echo(fd, b);
		if (i < active) {
			struct epoll_event e = {.events = stream ? EPOLLOUT : EPOLLIN, .data.fd = fd};
			epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
		}
	}
	if (!strcmp(mode, "idle")) {
		start();
		sleep(1);
		finish(connections, length, 0);
	}
	for (int i = 0; i < active && !stream; i++) {
		sent[fds[i]] = now();
		if (write(fds[i], b, size) != size)
			fail("write");
	}
	struct epoll_event ready[512];
	for (long long t0 = now();;) {
		int n = epoll_wait(ep, ready, 512, 1000);
		long long t = now();
		if (warming && t - t0 > warm) {
			warming = 0, ops = 0, t0 = t;
			memset(histogram, 0, sizeof histogram);
			start();
		} else if (!warming && ops && t - t0 > length)
			finish(ops, t - t0, !stream);
		for (int i = 0; i < n; i++, ops++) {
			int fd = ready[i].data.fd;
			if (stream) {
				if (write(fd, b, chunk) != chunk)
					fail("write");
				continue;
			}
			if (read(fd, b, size) != size) {
				errno = EPROTO;
				fail("the server did not echo 64 bytes");
			}
			t = now();
			long long step = (t - sent[fd]) / 100;
			histogram[step < buckets ? step : buckets - 1]++;
			sent[fd] = t;
			if (write(fd, b, size) != size)
				fail("write");
		}
	}
}
