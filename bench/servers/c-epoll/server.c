// The limit: what the kernel's calls cost when nothing is put around them. One thread, one edge-triggered epoll.
//
//     server ADDRESS echo|sink|push|close [level]
//
// With "level" it is not the limit but what most programs do with epoll: level-triggered, with read and write. Else it makes the calls that a careful event loop makes, and no more: no read after one that did not fill the buffer, EPOLLOUT only while there is
// something that the system did not take, no EPOLL_CTL_DEL before close, options inherited from the listener, and accepting in bursts that grow
// while all tries succeed, because an accept in vain costs as much as a connection.

#define _GNU_SOURCE
#include "address.h"

#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/resource.h>

enum { BUFFER = 64 << 10, MESSAGE = 64, EVENTS = 256, BURST = 64 };

// What a connection holds only while it has more to send than the system took.
struct pending {
	char *rest; // malloc'ed: bytes to send before anything else
	size_t len, off;
	uint64_t messages; // push: how many follow
};

static int ep, level;
static enum { ECHO, SINK, PUSH, CLOSE } mode;
static char buffer[BUFFER], batch[BUFFER];
static struct pending **pending; // by descriptor

static void watch(int op, int fd, uint32_t events)
{
	struct epoll_event e = {.events = events, .data.fd = fd};
	if (epoll_ctl(ep, op, fd, &e) < 0)
		die("epoll_ctl");
}

// A connection is watched for bytes and the end, and for room to write while there is something that the system did not take. Level-triggered it
// would be told of the former, which is not read meanwhile, again and again.
static void attend(int op, int fd, int room)
{
	if (level)
		watch(op, fd, room ? EPOLLOUT : EPOLLIN | EPOLLRDHUP);
	else
		watch(op, fd, EPOLLIN | EPOLLRDHUP | EPOLLET | (room ? EPOLLOUT : 0));
}

static void drop(int fd)
{
	if (pending[fd]) {
		free(pending[fd]->rest);
		free(pending[fd]);
		pending[fd] = NULL;
	}
	close(fd);
}

// Returns how much the system took, or -1 if the connection is over.
static ssize_t put(int fd, const char *p, size_t n)
{
	ssize_t m;
	do
		m = level ? write(fd, p, n) : send(fd, p, n, MSG_NOSIGNAL);
	while (m < 0 && errno == EINTR);
	if (m < 0 && errno == EAGAIN)
		return 0;
	return m;
}

static struct pending *hold(int fd, const char *p, size_t n, uint64_t messages)
{
	struct pending *q = calloc(1, sizeof *q);
	if (!q || !(q->rest = malloc(n + 1)))
		die("malloc");
	memcpy(q->rest, p, n);
	q->len = n;
	q->messages = messages;
	pending[fd] = q;
	attend(EPOLL_CTL_MOD, fd, 1);
	return q;
}

// Sends messages, gathered into batches, until the system takes no more. Returns 0 if the connection is over.
static int push(int fd, uint64_t messages)
{
	static const char message[MESSAGE] = "one message of the stream";
	while (messages > 0) {
		size_t n = 0;
		for (; n < BUFFER && messages > 0; n += MESSAGE, messages--)
			memcpy(batch + n, message, MESSAGE);
		ssize_t m = put(fd, batch, n);
		if (m < 0)
			return 0;
		if ((size_t)m < n) {
			hold(fd, batch + m, n - (size_t)m, messages);
			return 1;
		}
	}
	return 1;
}

// There is room again. Returns 0 if the connection is over.
static int resume(int fd)
{
	struct pending *q = pending[fd];
	ssize_t m = put(fd, q->rest + q->off, q->len - q->off);
	if (m < 0)
		return 0;
	q->off += (size_t)m;
	if (q->off < q->len)
		return 1;
	uint64_t messages = q->messages;
	free(q->rest);
	free(q);
	pending[fd] = NULL;
	if (messages > 0 && !push(fd, messages))
		return 0;
	if (!pending[fd]) // this also reports anew what came meanwhile
		attend(EPOLL_CTL_MOD, fd, 0);
	return 1;
}

// There are bytes, or the end. Returns 0 if the connection is over.
static int readable(int fd, uint32_t events)
{
	while (!pending[fd]) { // who does not read what we send is not read from
		ssize_t n = level ? read(fd, buffer, BUFFER) : recv(fd, buffer, BUFFER, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN;
		if (n == 0)
			return 0;
		if (mode == ECHO) {
			ssize_t m = put(fd, buffer, (size_t)n);
			if (m < 0)
				return 0;
			if (m < n)
				hold(fd, buffer + m, (size_t)(n - m), 0);
		} else if (mode == PUSH) {
			uint64_t messages;
			if (n != sizeof messages)
				return 0;
			memcpy(&messages, buffer, sizeof messages);
			if (!push(fd, messages))
				return 0;
		}
		if (n < BUFFER && !(events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)))
			return 1;
	}
	return 1;
}

static void accept_some(int listener)
{
	static int burst = 1;
	for (int i = 0; i < burst; i++) {
		int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0) {
			if (errno == ECONNABORTED || errno == EINTR)
				continue;
			if (errno != EAGAIN)
				die("accept");
			burst = 1;
			return;
		}
		attend(EPOLL_CTL_ADD, fd, 0);
		if (mode == CLOSE) // after it was registered, as in every server that may be asked to go on
			close(fd);
	}
	if (burst < BURST)
		burst *= 2;
}

int main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[3], "level") == 0)
		level = 1;
	else if (argc != 3)
		usage("usage: server ADDRESS echo|sink|push|close [level]");
	signal(SIGPIPE, SIG_IGN); // write has no flag for that
	struct address a = parse_address(argv[1]);
	const char *modes[] = {"echo", "sink", "push", "close"};
	unsigned m = 0;
	while (m < 4 && strcmp(argv[2], modes[m]) != 0)
		m++;
	if (m == 4)
		usage("the mode is echo, sink, push or close");
	mode = m;

	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		die("getrlimit");
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	pending = calloc(limit.rlim_cur, sizeof *pending);
	if (!pending)
		die("calloc");

	int listener = socket(a.sa.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (listener < 0)
		die("socket");
	if (a.sa.any.sa_family == AF_INET) {
		int on = 1;
		setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
		setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	}
	if (bind(listener, &a.sa.any, a.len) < 0)
		die("bind");
	if (listen(listener, 65535) < 0) // the system lowers it to its limit
		die("listen");
	if ((ep = epoll_create1(EPOLL_CLOEXEC)) < 0)
		die("epoll_create1");
	watch(EPOLL_CTL_ADD, listener, EPOLLIN); // level-triggered: what a burst leaves is told again
	puts("ready");
	fflush(stdout);

	struct epoll_event events[EVENTS];
	for (;;) {
		int n = epoll_wait(ep, events, EVENTS, -1);
		if (n < 0 && errno != EINTR)
			die("epoll_wait");
		for (int i = 0; i < n; i++) {
			int fd = events[i].data.fd;
			if (fd == listener) {
				accept_some(fd);
				continue;
			}
			if ((events[i].events & EPOLLOUT) && pending[fd] && !resume(fd)) {
				drop(fd);
				continue;
			}
			if (!pending[fd] && (events[i].events & ~(uint32_t)EPOLLOUT) && !readable(fd, events[i].events))
				drop(fd);
		}
	}
}
