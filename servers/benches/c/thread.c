/* A minimal echo server with a thread per connection. */
#include "echo.h"
#include <pthread.h>

static void *serve(void *argument) {
    int fd = (int)(long)argument;
    char *own = malloc(BUFFER);
    ssize_t got;
    while ((got = recv(fd, own, BUFFER, 0)) > 0 && send(fd, own, got, MSG_NOSIGNAL) == got) {}
    free(own);
    close(fd);
    return NULL;
}

int main(void) {
    int listener = listen_anywhere(0);
    pthread_attr_t detached;
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&detached, 2 << 20);
    for (;;) {
        pthread_t thread;
        int fd = accept4(listener, NULL, NULL, 0);
        if (fd >= 0 && pthread_create(&thread, &detached, serve, (void *)(long)fd)) close(fd);
    }
}
