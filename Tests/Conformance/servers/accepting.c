#include "visit.h"

#define NOWHERE ((void *)8)

static void tell_accepted(const char *name, int fd, const struct sockaddr_in *told,
                          const struct sockaddr_in *client)
{
    char text[64];
    snprintf(text, sizeof(text), "%s: accepted", name);
    tell_bool(text, fd >= 0);
    snprintf(text, sizeof(text), "%s: the client's address", name);
    tell_bool(text, same(told, client));
    snprintf(text, sizeof(text), "%s: getpeername", name);
    tell_bool(text, knows(fd, client));
    close(fd);
}

static void accept_one(const char *name, int fd, const struct sockaddr_in *client, int flags)
{
    struct sockaddr_in told;
    socklen_t length = sizeof(told);
    int accepted = flags < 0 ? accept(fd, (struct sockaddr *)&told, &length)
                             : accept4(fd, (struct sockaddr *)&told, &length, flags);
    if (flags > 0) {
        tell_bool("flags: non-blocking", (fcntl(accepted, F_GETFL) & O_NONBLOCK) != 0);
        tell_bool("flags: close-on-exec", (fcntl(accepted, F_GETFD) & FD_CLOEXEC) != 0);
    }
    tell_accepted(name, accepted, &told, client);
}

static void blocking(int fd, const struct sockaddr_in *at)
{
    struct sockaddr_in client = visit(at, stay), peer, own;
    struct sockaddr_storage room;
    socklen_t length = sizeof(own);
    accept_one("accept", fd, &client, -1);
    client = visit(at, stay);
    accept_one("accept4", fd, &client, 0);
    client = visit(at, stay);
    accept_one("accept4 with flags", fd, &client, SOCK_NONBLOCK | SOCK_CLOEXEC);

    client = visit(at, stay);
    int accepted = accept(fd, NULL, NULL);
    tell_bool("no address: getpeername", knows(accepted, &client));
    tell_bool("no address: getsockname", getsockname(accepted, (struct sockaddr *)&own, &length) == 0
                                             && same(&own, at));
    length = sizeof(peer);
    tell("SO_PEERNAME", getsockopt(accepted, SOL_SOCKET, SO_PEERNAME, &peer, &length));
    tell_bool("SO_PEERNAME: the client's", length == sizeof(peer) && same(&peer, &client));
    length = sizeof(room);
    tell("SO_PEERNAME with more room", getsockopt(accepted, SOL_SOCKET, SO_PEERNAME, &room, &length));
    close(accepted);
}

static void pointers(int fd, const struct sockaddr_in *at)
{
    struct sockaddr_in client = visit(at, stay), told;
    memset(&told, 0xa5, sizeof(told));
    socklen_t length = 4;
    int accepted = accept(fd, (struct sockaddr *)&told, &length);
    tell("short: length", length);
    tell_bool("short: what has room", told.sin_family == AF_INET && told.sin_port == client.sin_port);
    tell_bool("short: the rest is untouched", told.sin_addr.s_addr == 0xa5a5a5a5);
    length = 0;
    tell("no room", getpeername(accepted, (struct sockaddr *)&told, &length));
    tell("no room: length", length);
    length = (socklen_t)-1;
    tell("negative room", getpeername(accepted, (struct sockaddr *)&told, &length));
    length = sizeof(told);
    tell("address nowhere", getpeername(accepted, NOWHERE, &length));
    tell("length nowhere", getpeername(accepted, (struct sockaddr *)&told, NOWHERE));
    close(accepted);
    (void)visit(at, stay);
    tell("accept: length nowhere", accept(fd, (struct sockaddr *)&told, NOWHERE));
    length = sizeof(told);
    (void)visit(at, stay);
    tell("accept: address nowhere", accept(fd, NOWHERE, &length));
    tell("accept4: unknown flag", accept4(fd, NULL, NULL, 1));
    accepted = tcp(0);
    tell("accept: no listener", accept(accepted, NULL, NULL));
    close(accepted);
}

static void readiness(const struct sockaddr_in *unused)
{
    struct sockaddr_in at, clients[2];
    int fd = listener_at(INADDR_LOOPBACK, SOCK_NONBLOCK, &at), epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN};
    (void)unused;
    tell("nobody there", accept(fd, NULL, NULL));
    tell_mask("nobody there: poll", wait_events(fd, POLLIN, 0));
    clients[0] = visit(&at, stay);
    tell_mask("poll", wait_events(fd, POLLIN, LONG_MS));
    fd_set set;
    FD_ZERO(&set);
    FD_SET(fd, &set);
    tell("select", select(fd + 1, &set, NULL, NULL, NULL));
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    tell("epoll, level", epoll_wait(epoll, &event, 1, LONG_MS));
    tell("epoll, level, again", epoll_wait(epoll, &event, 1, 0));
    accept_one("ready", fd, &clients[0], 0);
    tell("epoll, level, taken", epoll_wait(epoll, &event, 1, 0));

    event.events = EPOLLIN | EPOLLET;
    epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event);
    clients[0] = visit(&at, stay);
    clients[1] = visit(&at, stay);
    tell("epoll, edge", epoll_wait(epoll, &event, 1, LONG_MS));
    usleep(SHORT_MS * 1000);
    accept_one("first of two", fd, &clients[0], 0);
    accept_one("second of two", fd, &clients[1], 0);
    tell("no third", accept(fd, NULL, NULL));
    close(epoll);
    close(fd);
}

static void endings(const struct sockaddr_in *at, int fd)
{
    char buffer[8];
    struct sockaddr_in told, client = visit(at, send_and_reset);
    socklen_t length = sizeof(told);
    usleep(4 * SHORT_MS * 1000);
    int accepted = accept(fd, (struct sockaddr *)&told, &length);
    tell_bool("reset before accept: the client's address", same(&told, &client));
    length = sizeof(told);
    tell("reset before accept: getpeername", getpeername(accepted, (struct sockaddr *)&told, &length));
    tell("reset before accept: data", read(accepted, buffer, sizeof(buffer)));
    tell("reset before accept: then", read(accepted, buffer, sizeof(buffer)));
    close(accepted);

    client = visit(at, send_and_close);
    usleep(2 * SHORT_MS * 1000);
    length = sizeof(told);
    accepted = accept(fd, (struct sockaddr *)&told, &length);
    tell_bool("closed before accept: the client's address", same(&told, &client) && knows(accepted, &client));
    tell("closed before accept: data", read(accepted, buffer, sizeof(buffer)));
    tell("closed before accept: end", read(accepted, buffer, sizeof(buffer)));
    tell_bool("closed before accept: still known", knows(accepted, &client));
    close(accepted);
}

static void both_families(void)
{
    struct sockaddr_in6 at = {.sin6_family = AF_INET6}, told;
    struct sockaddr_in v4 = {.sin_family = AF_INET}, client;
    socklen_t length = sizeof(at);
    int fd = socket(AF_INET6, SOCK_STREAM, 0), none = 0;
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &none, sizeof(none));
    tell("IPv6: bind", bind(fd, (struct sockaddr *)&at, sizeof(at)));
    tell("IPv6: listen", listen(fd, 4));
    tell("IPv6: listen again", listen(fd, 8));
    getsockname(fd, (struct sockaddr *)&at, &length);
    v4.sin_port = at.sin6_port;
    v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    client = visit(&v4, stay);
    length = sizeof(told);
    int accepted = accept(fd, (struct sockaddr *)&told, &length);
    tell("IPv6: length", length);
    tell_bool("IPv6: the client's address, mapped",
              told.sin6_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&told.sin6_addr)
                  && memcmp(told.sin6_addr.s6_addr + 12, &client.sin_addr, 4) == 0
                  && told.sin6_port == client.sin_port);
    close(accepted);
    close(fd);
}

static void closed_listener(void)
{
    struct sockaddr_in at;
    char byte;
    int fd = listener(&at), client = tcp(0);
    tell("not accepted: connect", connect(client, (struct sockaddr *)&at, sizeof(at)));
    close(fd);
    tell_bool("not accepted: reset", read(client, &byte, 1) < 0 && errno == ECONNRESET);
    close(client);
}

int main(void)
{
    struct sockaddr_in at;
    signal(SIGCHLD, SIG_IGN);
    int fd = listener(&at);
    blocking(fd, &at);
    pointers(fd, &at);
    readiness(&at);
    endings(&at, fd);
    both_families();
    closed_listener();
    return 0;
}
