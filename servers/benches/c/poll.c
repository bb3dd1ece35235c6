/* A minimal poll echo server. */
#include "echo.h"
#include <poll.h>

static struct pollfd fds[65536];

int main(void) {
    int listener = listen_anywhere(SOCK_NONBLOCK), used = 1, fd;
    fds[0] = (struct pollfd){.fd = listener, .events = POLLIN};
    for (;;) {
        int ready = poll(fds, used, -1);
        int someone_waits = fds[0].revents != 0;
        ready -= someone_waits;
        for (int i = used - 1; i > 0 && ready > 0; i--) {
            if (!fds[i].revents) continue;
            ready--;
            if (echo_once(fds[i].fd)) continue;
            close(fds[i].fd);
            fds[i] = fds[--used];
        }
        while (someone_waits && (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0)
            fds[used++] = (struct pollfd){.fd = fd, .events = POLLIN};
    }
}
