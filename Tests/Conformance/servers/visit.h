/* A server's own clients: each is a process that connects, says who it is, and does as it is told. */
#ifndef VISIT_H
#define VISIT_H

#include "../check.h"

static inline int listener_at(in_addr_t host, int flags, struct sockaddr_in *at)
{
    int fd = tcp(flags);
    socklen_t length = sizeof(*at);
    memset(at, 0, sizeof(*at));
    at->sin_family = AF_INET;
    at->sin_addr.s_addr = htonl(host);
    if (bind(fd, (struct sockaddr *)at, sizeof(*at)) != 0 || listen(fd, 16) != 0
        || getsockname(fd, (struct sockaddr *)at, &length) != 0) {
        perror("listen");
        exit(2);
    }
    at->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return fd;
}

static inline int listener(struct sockaddr_in *at)
{
    return listener_at(INADDR_LOOPBACK, 0, at);
}

/* Returns when the client is connected: its own address. Its exit is not waited for. */
static inline struct sockaddr_in visit(const struct sockaddr_in *server, void (*act)(int fd))
{
    int pipes[2];
    struct sockaddr_in own = {.sin_family = AF_UNSPEC};
    socklen_t length = sizeof(own);
    if (pipe(pipes) != 0)
        exit(2);
    if (fork() == 0) {
        int fd = tcp(0);
        if (connect(fd, (const struct sockaddr *)server, sizeof(*server)) == 0)
            getsockname(fd, (struct sockaddr *)&own, &length);
        (void)!write(pipes[1], &own, sizeof(own));
        act(fd);
        _exit(0);
    }
    (void)read_exactly(pipes[0], &own, sizeof(own));
    close(pipes[0]);
    close(pipes[1]);
    return own;
}

static inline bool same(const struct sockaddr_in *a, const struct sockaddr_in *b)
{
    return a->sin_family == b->sin_family && a->sin_port == b->sin_port
           && a->sin_addr.s_addr == b->sin_addr.s_addr;
}

/* Whether getpeername() knows the client. */
static inline bool knows(int fd, const struct sockaddr_in *client)
{
    struct sockaddr_in peer;
    socklen_t length = sizeof(peer);
    return getpeername(fd, (struct sockaddr *)&peer, &length) == 0 && length == sizeof(peer)
           && same(&peer, client);
}

/* What clients do. */
static inline void stay(int fd)
{
    char byte;
    (void)!read(fd, &byte, 1);
}

static inline void send_and_stay(int fd)
{
    (void)!write(fd, "hello", 5);
    stay(fd);
}

static inline void send_and_reset(int fd)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    (void)!write(fd, "hello", 5);
    usleep(SHORT_MS * 1000);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    close(fd);
}

static inline void send_and_close(int fd)
{
    (void)!write(fd, "hello", 5);
    close(fd);
}

#endif
