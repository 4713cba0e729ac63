// The limit: edge-triggered epoll, nothing kept for a connection, no error handled that does not happen here.
//
//	server ADDRESS echo|sink
#define _GNU_SOURCE
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
#include <unistd.h>

int main(int argc, char **argv) {
	static char b[64 << 10];
	int l, one = 1, echo = argc > 2 && !strcmp(argv[2], "echo");
	struct rlimit files;
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	if (argv[1][0] == '/') {
		struct sockaddr_un a = {.sun_family = AF_UNIX};
		strncpy(a.sun_path, argv[1], sizeof a.sun_path - 1);
		l = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
		if (bind(l, (void *)&a, sizeof a) < 0)
			return perror("bind"), 1;
	} else {
		struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
		l = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
		setsockopt(l, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); // accepted sockets inherit it
		if (bind(l, (void *)&a, sizeof a) < 0)
			return perror("bind"), 1;
	}
	listen(l, 4096);
	int ep = epoll_create1(0);
	struct epoll_event e = {.events = EPOLLIN, .data.fd = l}, ready[512];
	epoll_ctl(ep, EPOLL_CTL_ADD, l, &e);
	printf("ready\n");
	fflush(stdout);
	for (;;) {
		int n = epoll_wait(ep, ready, 512, -1);
		for (int i = 0; i < n; i++) {
			int fd = ready[i].data.fd;
			if (fd == l) {
				for (int j = 0; j < 64; j++) {
					int c = accept4(l, 0, 0, SOCK_NONBLOCK | SOCK_CLOEXEC);
					if (c < 0)
						break;
					struct epoll_event e = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.fd = c};
					epoll_ctl(ep, EPOLL_CTL_ADD, c, &e);
				}
				continue;
			}
			for (;;) {
				ssize_t got = recv(fd, b, sizeof b, 0);
				if (got > 0 && echo)
					send(fd, b, got, MSG_NOSIGNAL);
				if (got == 0 || (got < 0 && errno != EAGAIN)) {
					close(fd);
					break;
				}
				if (got < 0 || (got < (ssize_t)sizeof b && !(ready[i].events & EPOLLRDHUP)))
					break;
			}
		}
	}
}
