/* A minimal echo server with a process per connection. */
#include "echo.h"

int main(void) {
    int listener = listen_anywhere(0);
    signal(SIGCHLD, SIG_IGN);
    for (;;) {
        int fd = accept4(listener, NULL, NULL, 0);
        if (fd < 0) continue;
        if (fork() == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            close(listener);
            while (echo_once(fd)) {}
            _exit(0);
        }
        close(fd);
    }
}
