/* A minimal select echo server. */
#include "echo.h"
#include <sys/select.h>

int main(void) {
    int listener = listen_anywhere(SOCK_NONBLOCK), highest = listener, fd;
    fd_set watched, ready;
    FD_ZERO(&watched);
    FD_SET(listener, &watched);
    for (;;) {
        ready = watched;
        select(highest + 1, &ready, NULL, NULL, NULL);
        int end = highest;
        if (FD_ISSET(listener, &ready)) {
            FD_CLR(listener, &ready);
            while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                if (fd >= FD_SETSIZE) {
                    close(fd);
                    continue;
                }
                FD_SET(fd, &watched);
                if (fd > highest) highest = fd;
            }
        }
        for (fd = 0; fd <= end; fd++) {
            if (!FD_ISSET(fd, &ready) || echo_once(fd)) continue;
            close(fd);
            FD_CLR(fd, &watched);
        }
    }
}
