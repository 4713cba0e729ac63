// Addresses as the benchmark writes them: unix:PATH or tcp:HOST:PORT (IPv4, numeric).

#ifndef ADDRESS_H
#define ADDRESS_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct address {
	union {
		struct sockaddr any;
		struct sockaddr_un un;
		struct sockaddr_in in;
	} sa;
	socklen_t len;
};

static void die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

static void usage(const char *what)
{
	fprintf(stderr, "%s\n", what);
	exit(2);
}

static struct address parse_address(const char *text)
{
	struct address a;
	memset(&a, 0, sizeof a);
	if (strncmp(text, "unix:", 5) == 0) {
		const char *path = text + 5;
		if (strlen(path) >= sizeof a.sa.un.sun_path)
			usage("the socket's path is too long");
		a.sa.un.sun_family = AF_UNIX;
		strcpy(a.sa.un.sun_path, path);
		a.len = sizeof a.sa.un;
		return a;
	}
	if (strncmp(text, "tcp:", 4) == 0) {
		char host[64];
		const char *colon = strrchr(text + 4, ':');
		size_t n = colon ? (size_t)(colon - (text + 4)) : 0;
		if (n == 0 || n >= sizeof host)
			usage("an address is tcp:HOST:PORT");
		memcpy(host, text + 4, n);
		host[n] = 0;
		a.sa.in.sin_family = AF_INET;
		a.sa.in.sin_port = htons((uint16_t)atoi(colon + 1));
		if (inet_pton(AF_INET, host, &a.sa.in.sin_addr) != 1)
			usage("the host must be a numeric IPv4 address");
		a.len = sizeof a.sa.in;
		return a;
	}
	usage("an address is unix:PATH or tcp:HOST:PORT");
	return a;
}

#endif
