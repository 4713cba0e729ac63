// The load: a client of constant and small cost, that measures the server from outside.
//
//     load ADDRESS PID MEASURE [KEY=VALUE…]
//
// PID is the server's process, whose processor time is read where the measured interval begins and ends. A measure is one of
//
//     echo     64 bytes there and back, over conns=N connections, of which active=N have one in flight
//     ping     the same over one connection, with calls that wait
//     stream   64 KiB writes one way
//     push     64-byte messages from the server
//     conn     connect; the server closes
//     connreq  connect, one echo, close
//     idle     conns=N connections, one echo on each; then says "idle" and holds them until its input ends
//
// warm=MS and run=MS are how long to warm up and to measure, the latter in slices of slice=MS, one after the other. The result is one line of JSON
// on stdout: what each slice and all of them gave.
//
// Processor time is that of the server's process clock, in nanoseconds, with all its threads, also those that have ended. The kernel brings it up to
// date when a thread stops running, so it is read when the server has come to rest: everything that was sent has been answered. That is why a slice
// begins and ends with nothing in flight.

#define _GNU_SOURCE
#include "address.h"

#include <inttypes.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>

enum { MESSAGE = 64, BLOCK = 64 << 10, EVENTS = 512, SOURCES = 250, TOGETHER = 32 };

static struct address server;
static clockid_t server_clock;
static uint64_t warm_ns = 100000000, run_ns = 500000000, slice_ns = 20000000;
static int conns = 1, active;

static uint64_t clock_ns(clockid_t id)
{
	struct timespec t;
	if (clock_gettime(id, &t) < 0)
		die("clock_gettime: has the server ended?");
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t now(void) { return clock_ns(CLOCK_MONOTONIC); }

// The server's processor time when it has come to rest: when it has not grown for a while.
static uint64_t rested(void)
{
	uint64_t last = clock_ns(server_clock);
	for (int still = 0, tries = 0; still < 2 && tries < 50; tries++) {
		struct timespec ms = {.tv_nsec = 1000000};
		nanosleep(&ms, NULL);
		uint64_t t = clock_ns(server_clock);
		still = t == last ? still + 1 : 0;
		last = t;
	}
	return last;
}

// Latencies, in buckets whose width is 1/64 of their value or less.
enum { SUB = 64, SUB_BITS = 6 };
static uint64_t histogram[(64 - SUB_BITS) * SUB], samples;

static void record(uint64_t ns)
{
	samples++;
	if (ns < SUB) {
		histogram[ns]++;
		return;
	}
	int shift = 63 - __builtin_clzll(ns) - SUB_BITS;
	histogram[((uint64_t)(shift + 1) << SUB_BITS) + (ns >> shift) - SUB]++;
}

static uint64_t percentile(double p)
{
	uint64_t rank = (uint64_t)(p * (double)samples), seen = 0;
	if (rank >= samples && rank > 0)
		rank = samples - 1;
	for (uint64_t i = 0; i < sizeof histogram / sizeof *histogram; i++) {
		seen += histogram[i];
		if (seen > rank) {
			if (i < SUB)
				return i;
			int shift = (int)(i >> SUB_BITS) - 1;
			return (((i & (SUB - 1)) + SUB) << shift) + ((1ull << shift) >> 1);
		}
	}
	return 0;
}

static struct {
	uint64_t server, client, start;
} begun;

static struct {
	uint64_t ops, ns, server, client;
} total;

static uint64_t own_cpu(void) { return clock_ns(CLOCK_PROCESS_CPUTIME_ID); }

// Begins a slice, or says what all gave and returns 0 when the time to measure is over.
static int begin(void)
{
	if (total.ns >= run_ns) {
		printf("],\"ops\":%" PRIu64 ",\"ns\":%" PRIu64 ",\"cpu_ns\":%" PRIu64 ",\"client_cpu_ns\":%" PRIu64, total.ops, total.ns, total.server, total.client);
		if (samples)
			printf(",\"p50_ns\":%" PRIu64 ",\"p99_ns\":%" PRIu64, percentile(0.5), percentile(0.99));
		puts("}");
		return 0;
	}
	if (total.ns == 0) { // of what was before, to warm up, nothing counts
		memset(histogram, 0, sizeof histogram);
		samples = 0;
	}
	begun.server = rested();
	begun.client = own_cpu();
	begun.start = now();
	return 1;
}

static void finish(uint64_t ops, uint64_t end)
{
	uint64_t client = own_cpu() - begun.client;
	uint64_t cpu = rested() - begun.server;
	uint64_t ns = end - begun.start;
	printf("%s{\"ops\":%" PRIu64 ",\"ns\":%" PRIu64 ",\"cpu_ns\":%" PRIu64 "}", total.ns ? "," : "{\"slices\":[", ops, ns, cpu);
	total.ops += ops;
	total.ns += ns;
	total.server += cpu;
	total.client += client;
}

// TCP clients call from 127.0.0.2, 127.0.0.3 …, in turn: each address has ports of its own, so that those which rest in TIME-WAIT are not missed.
static int dial(void)
{
	static unsigned calls;
	int fd = socket(server.sa.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		if (errno == EMFILE)
			usage("too many open files: raise the hard limit (ulimit -Hn, as root) or measure fewer connections");
		die("socket");
	}
	if (server.sa.any.sa_family == AF_INET) {
		int on = 1;
		struct sockaddr_in from = {.sin_family = AF_INET};
		from.sin_addr.s_addr = htonl(0x7f000002 + calls++ % SOURCES);
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
		setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
		if (bind(fd, (struct sockaddr *)&from, sizeof from) < 0)
			die("bind");
	}
	while (connect(fd, &server.sa.any, server.len) < 0)
		if (errno != EINTR)
			die("connect");
	return fd;
}

static void send_all(int fd, const void *p, size_t n)
{
	while (n > 0) {
		ssize_t m = send(fd, p, n, MSG_NOSIGNAL);
		if (m < 0 && errno != EINTR)
			die("send");
		if (m > 0) {
			p = (const char *)p + m;
			n -= (size_t)m;
		}
	}
}

// Receives n bytes, or fewer if the end comes.
static size_t receive(int fd, void *p, size_t n)
{
	size_t got = 0;
	while (got < n) {
		ssize_t m = recv(fd, (char *)p + got, n - got, 0);
		if (m < 0 && errno != EINTR)
			die("recv");
		if (m == 0)
			break;
		if (m > 0)
			got += (size_t)m;
	}
	return got;
}

// A message says which connection's and which one in turn it is, so that no answer is taken for another.
static void fill(char *message, uint64_t who, uint64_t count)
{
	for (int i = 0; i < MESSAGE / 16; i++) {
		memcpy(message + i * 16, &who, 8);
		memcpy(message + i * 16 + 8, &count, 8);
	}
}

static void check(const char *got, uint64_t who, uint64_t count)
{
	char want[MESSAGE];
	fill(want, who, count);
	if (memcmp(got, want, MESSAGE) != 0)
		usage("the answer is not what was sent");
}

static void ask(int fd, uint64_t who, uint64_t count)
{
	char message[MESSAGE];
	fill(message, who, count);
	send_all(fd, message, MESSAGE);
}

static void answered(int fd, uint64_t who, uint64_t count)
{
	char message[MESSAGE];
	if (receive(fd, message, MESSAGE) != MESSAGE)
		usage("the server closed the connection before its answer");
	check(message, who, count);
}

static void exchange(int fd, uint64_t who, uint64_t count)
{
	ask(fd, who, count);
	answered(fd, who, count);
}

static void expect_end(int fd)
{
	char c;
	if (receive(fd, &c, 1) != 0)
		usage("the server said something where it should have closed the connection");
}

struct client {
	int fd;
	size_t got;
	uint64_t count, sent;
	char message[MESSAGE];
};

// Opens all connections and has one echo on each, several at a time: a server that asks the system about all its connections in every turn, as one
// with poll(2) does, is slow at this otherwise. They are fewer than Qt's backlog, 50, beyond which TCP drops and waits for seconds.
static struct client *connect_all(void)
{
	struct client *all = calloc((size_t)conns, sizeof *all);
	if (!all)
		die("calloc");
	for (int from = 0, to; from < conns; from = to) {
		to = conns - from > TOGETHER ? from + TOGETHER : conns;
		for (int i = from; i < to; i++) {
			all[i].fd = dial();
			ask(all[i].fd, (uint64_t)i, all[i].count);
		}
		for (int i = from; i < to; i++)
			answered(all[i].fd, (uint64_t)i, all[i].count++);
	}
	return all;
}

static void next(struct client *all, int i, uint64_t t)
{
	struct client *c = &all[i];
	fill(c->message, (uint64_t)i, c->count);
	send_all(c->fd, c->message, MESSAGE);
	c->got = 0;
	c->sent = t;
}

// Keeps one message in flight on each active connection until the time is over, and waits for the last answers. Returns how many came.
static uint64_t echo_phase(int ep, struct client *all, uint64_t ns, uint64_t *end)
{
	struct epoll_event events[EVENTS];
	uint64_t ops = 0, t = now(), stop = t + ns;
	int flying = 0;
	for (int i = 0; i < active; i++, flying++)
		next(all, i * (conns / active), now());
	while (flying > 0) {
		int n = epoll_wait(ep, events, EVENTS, 30000);
		if (n < 0 && errno != EINTR)
			die("epoll_wait");
		if (n == 0)
			usage("no answer for 30 s");
		for (int k = 0; k < n; k++) {
			int i = (int)events[k].data.u32;
			struct client *c = &all[i];
			ssize_t m = recv(c->fd, c->message + c->got, MESSAGE - c->got, MSG_DONTWAIT);
			if (m < 0 && (errno == EAGAIN || errno == EINTR))
				continue;
			if (m < 0)
				die("recv");
			if (m == 0)
				usage("the server closed a connection");
			if ((c->got += (size_t)m) < MESSAGE)
				continue;
			t = now();
			check(c->message, (uint64_t)i, c->count++);
			record(t - c->sent);
			ops++;
			if (t < stop)
				next(all, i, t);
			else
				flying--;
		}
	}
	*end = t;
	return ops;
}

static void measure_echo(void)
{
	int ep = epoll_create1(EPOLL_CLOEXEC);
	if (ep < 0)
		die("epoll_create1");
	struct client *all = connect_all();
	for (int i = 0; i < conns; i++) {
		struct epoll_event e = {.events = EPOLLIN, .data.u32 = (uint32_t)i};
		if (epoll_ctl(ep, EPOLL_CTL_ADD, all[i].fd, &e) < 0)
			die("epoll_ctl");
	}
	uint64_t end;
	echo_phase(ep, all, warm_ns, &end);
	while (begin()) {
		uint64_t ops = echo_phase(ep, all, slice_ns, &end);
		finish(ops, end);
	}
}

static uint64_t ping_phase(int fd, uint64_t *count, uint64_t ns, uint64_t *end)
{
	uint64_t t = now(), stop = t + ns, ops = 0;
	while (t < stop) {
		exchange(fd, 0, (*count)++);
		uint64_t u = now();
		record(u - t);
		t = u;
		ops++;
	}
	*end = t;
	return ops;
}

static void measure_ping(void)
{
	int fd = dial();
	uint64_t count = 0, end;
	ping_phase(fd, &count, warm_ns, &end);
	while (begin()) {
		uint64_t ops = ping_phase(fd, &count, slice_ns, &end);
		finish(ops, end);
	}
}

// Writes blocks until the time is over, and waits until the server has read them all: until it closes, which it does at the end.
static uint64_t stream_phase(int fd, uint64_t ns, uint64_t *end)
{
	static char block[BLOCK];
	uint64_t stop = now() + ns, ops = 0;
	do {
		send_all(fd, block, BLOCK);
		ops++;
	} while (now() < stop);
	shutdown(fd, SHUT_WR);
	expect_end(fd);
	*end = now();
	close(fd);
	return ops;
}

static void measure_stream(void)
{
	uint64_t end;
	stream_phase(dial(), warm_ns, &end);
	for (int fd = dial(); begin(); fd = dial()) {
		uint64_t ops = stream_phase(fd, slice_ns, &end);
		finish(ops, end);
	}
}

// Asks for messages, some at a time, until the time is over. Returns how many came.
static uint64_t push_phase(int fd, uint64_t ns, uint64_t *end)
{
	static char block[BLOCK * 4];
	const uint64_t request = 1 << 16;
	uint64_t t = now(), stop = t + ns, ops = 0;
	for (; t < stop; t = now(), ops += request) {
		send_all(fd, &request, sizeof request);
		for (uint64_t left = request * MESSAGE; left > 0;) {
			ssize_t m = recv(fd, block, left < sizeof block ? (size_t)left : sizeof block, 0);
			if (m < 0 && errno == EINTR)
				continue;
			if (m < 0)
				die("recv");
			if (m == 0)
				usage("the server closed the connection before its last message");
			left -= (uint64_t)m;
		}
	}
	*end = t;
	return ops;
}

static void measure_push(void)
{
	int fd = dial();
	uint64_t end;
	push_phase(fd, warm_ns, &end);
	while (begin()) {
		uint64_t ops = push_phase(fd, slice_ns, &end);
		finish(ops, end);
	}
}

// One connection after another. Where the server closes first, the client ends with a reset, so that no TIME-WAIT is left behind; where
// the client does, it says so as programs do, and TIME-WAIT is its own.
static uint64_t conn_phase(int request, uint64_t ns, uint64_t *end)
{
	static uint64_t count;
	struct linger reset = {.l_onoff = 1, .l_linger = 0};
	uint64_t t = now(), stop = t + ns, ops = 0;
	while (t < stop) {
		int fd = dial();
		if (request) {
			exchange(fd, 1, count++);
			shutdown(fd, SHUT_WR);
		} else if (server.sa.any.sa_family == AF_INET) {
			setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
		}
		expect_end(fd);
		uint64_t u = now();
		record(u - t);
		close(fd);
		t = now();
		ops++;
	}
	*end = t;
	return ops;
}

static void measure_conn(int request)
{
	uint64_t end;
	conn_phase(request, warm_ns, &end);
	while (begin()) {
		uint64_t ops = conn_phase(request, slice_ns, &end);
		finish(ops, end);
	}
}

static void hold_idle(void)
{
	connect_all();
	puts("idle");
	fflush(stdout);
	char c;
	while (read(0, &c, 1) > 0)
		;
}

int main(int argc, char **argv)
{
	if (argc < 4)
		usage("usage: load ADDRESS PID MEASURE [conns=N] [active=N] [warm=MS] [run=MS] [slice=MS]");
	server = parse_address(argv[1]);
	if (clock_getcpuclockid(atoi(argv[2]), &server_clock) != 0)
		usage("there is no such server process");
	for (int i = 4; i < argc; i++) {
		char *eq = strchr(argv[i], '=');
		int v = eq ? atoi(eq + 1) : 0;
		if (v <= 0)
			usage("an option is KEY=NUMBER, above 0");
		*eq = 0;
		if (strcmp(argv[i], "conns") == 0)
			conns = v;
		else if (strcmp(argv[i], "active") == 0)
			active = v;
		else if (strcmp(argv[i], "warm") == 0)
			warm_ns = (uint64_t)v * 1000000;
		else if (strcmp(argv[i], "run") == 0)
			run_ns = (uint64_t)v * 1000000;
		else if (strcmp(argv[i], "slice") == 0)
			slice_ns = (uint64_t)v * 1000000;
		else
			usage("the options are conns, active, warm, run and slice");
	}
	if (active == 0 || active > conns)
		active = conns;

	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	signal(SIGPIPE, SIG_IGN);

	const char *m = argv[3];
	if (strcmp(m, "echo") == 0)
		measure_echo();
	else if (strcmp(m, "ping") == 0)
		measure_ping();
	else if (strcmp(m, "stream") == 0)
		measure_stream();
	else if (strcmp(m, "push") == 0)
		measure_push();
	else if (strcmp(m, "conn") == 0)
		measure_conn(0);
	else if (strcmp(m, "connreq") == 0)
		measure_conn(1);
	else if (strcmp(m, "idle") == 0)
		hold_idle();
	else
		usage("the measures are echo, ping, stream, push, conn, connreq and idle");
	return 0;
}
