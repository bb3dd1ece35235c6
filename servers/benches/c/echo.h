/* What every minimal server here needs: a listener, and the ready line. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUFFER (64 * 1024)

static char buffer[BUFFER];

static void die(const char *what) {
    perror(what);
    exit(1);
}

static int listen_anywhere(int flags) {
    int on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | flags, 0);
    if (listener < 0) die("socket");
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0) die("bind");
    if (listen(listener, 4096) < 0) die("listen");
    getsockname(listener, (struct sockaddr *)&address, &length);
    printf("listening 127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
    signal(SIGPIPE, SIG_IGN);
    return listener;
}

/* One read, one write. Says whether the connection goes on. Minimal: a write
   that the socket has no room for ends it. */
static inline int echo_once(int fd) {
    ssize_t got = recv(fd, buffer, BUFFER, 0);
    return got > 0 && send(fd, buffer, got, MSG_NOSIGNAL) == got;
}
