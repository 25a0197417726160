#include "../check.h"

static void with_poll(void)
{
    int fd = tcp(SOCK_NONBLOCK);
    tell("poll: connect", connect_to(fd, "ECHO"));
    tell_mask("poll: writable", wait_events(fd, POLLIN | POLLOUT | POLLRDHUP, LONG_MS));
    tell_socket_error("poll: SO_ERROR", fd);
    tell("poll: second connect", connect_to(fd, "ECHO"));
    tell("poll: third connect", connect_to(fd, "ECHO"));
    tell_bool("poll: nonblocking still", (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
    char byte;
    tell("poll: nothing to read", read(fd, &byte, 1));
    fcntl(fd, F_SETFL, 0);
    tell_bool("poll: echo", echoes(fd, "poll"));
    close(fd);
}

static void with_select(void)
{
    int fd = tcp(SOCK_NONBLOCK);
    fd_set writable, readable;
    struct timeval limit = {.tv_sec = 5};
    tell("select: connect", connect_to(fd, "ECHO"));
    FD_ZERO(&writable);
    FD_ZERO(&readable);
    FD_SET(fd, &writable);
    FD_SET(fd, &readable);
    tell("select: ready", select(fd + 1, &readable, &writable, NULL, &limit));
    tell_bool("select: writable", FD_ISSET(fd, &writable));
    tell_bool("select: readable", FD_ISSET(fd, &readable));
    tell_socket_error("select: SO_ERROR", fd);
    close(fd);
}

static void refused(void)
{
    int fd = tcp(SOCK_NONBLOCK);
    tell("refused: connect", connect_to(fd, "REFUSED"));
    tell_mask("refused: events", wait_events(fd, POLLIN | POLLOUT | POLLRDHUP, LONG_MS));
    struct sockaddr_in address;
    socklen_t length = sizeof(address);
    tell("refused: getpeername", getpeername(fd, (struct sockaddr *)&address, &length));
    tell_socket_error("refused: SO_ERROR", fd);
    tell_socket_error("refused: SO_ERROR again", fd);
    tell_mask("refused: events then", wait_events(fd, POLLIN | POLLOUT | POLLRDHUP, SHORT_MS));
    tell("refused: second connect", connect_to(fd, "ECHO"));
    tell("refused: third connect", connect_to(fd, "ECHO"));
    tell_mask("refused: writable now", wait_events(fd, POLLOUT, LONG_MS));
    tell_socket_error("refused: SO_ERROR now", fd);
    fcntl(fd, F_SETFL, 0);
    tell_bool("refused: echo", echoes(fd, "at last"));
    close(fd);
    fd = tcp(SOCK_NONBLOCK);
    tell("refused: again", connect_to(fd, "REFUSED"));
    (void)wait_events(fd, POLLOUT, LONG_MS);
    tell("refused: shutdown", shutdown(fd, SHUT_WR));
    close(fd);
}

static void refused_told_by_connect(void)
{
    int fd = tcp(SOCK_NONBLOCK);
    tell("told: connect", connect_to(fd, "REFUSED"));
    (void)wait_events(fd, POLLOUT, LONG_MS);
    tell("told: second connect", connect_to(fd, "REFUSED"));
    tell_socket_error("told: SO_ERROR", fd);
    fcntl(fd, F_SETFL, 0);
    tell("told: blocking connect", connect_to(fd, "ECHO"));
    tell_bool("told: echo", echoes(fd, "told"));
    close(fd);
}

static void pending(void)
{
    struct sockaddr_in address;
    socklen_t length = sizeof(address);
    char byte;
    int fd = tcp(SOCK_NONBLOCK);
    tell("pending: connect", connect_to(fd, "PENDING"));
    tell_mask("pending: events", wait_events(fd, POLLIN | POLLOUT | POLLRDHUP, SHORT_MS));
    tell("pending: second connect", connect_to(fd, "PENDING"));
    tell("pending: read", read(fd, &byte, 1));
    tell("pending: send", send(fd, "x", 1, MSG_NOSIGNAL));
    tell("pending: getpeername", getpeername(fd, (struct sockaddr *)&address, &length));
    tell("pending: getsockname", getsockname(fd, (struct sockaddr *)&address, &length));
    tell_bool("pending: local port", address.sin_port != 0);
    tell_socket_error("pending: SO_ERROR", fd);
    tell("pending: shutdown", shutdown(fd, SHUT_WR));
    tell("pending: connect elsewhere", connect_to(fd, "ECHO"));
    tell_mask("pending: writable now", wait_events(fd, POLLOUT, LONG_MS));
    close(fd);
    fd = tcp(SOCK_NONBLOCK);
    tell("pending: another", connect_to(fd, "PENDING"));
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    tell("pending: disconnect", connect(fd, &none, sizeof(none)));
    tell("pending: then connect", connect_to(fd, "ECHO"));
    tell_mask("pending: writable then", wait_events(fd, POLLOUT, LONG_MS));
    tell("pending: close", close(fd));
}

int main(void)
{
    with_poll();
    with_select();
    refused();
    refused_told_by_connect();
    pending();
    return 0;
}
