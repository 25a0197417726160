#include "../check.h"

static void tell_option(const char *name, int fd, int level, int option)
{
    int value = -1;
    socklen_t length = sizeof(value);
    int result = getsockopt(fd, level, option, &value, &length);
    tell(name, result < 0 ? result : value);
}

static int set(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof(value));
}

static void structures(int fd)
{
    struct linger wait = {.l_onoff = 1, .l_linger = 3}, told = {0, 0};
    tell("LINGER", setsockopt(fd, SOL_SOCKET, SO_LINGER, &wait, sizeof(wait)));
    socklen_t length = sizeof(told);
    tell("LINGER read", getsockopt(fd, SOL_SOCKET, SO_LINGER, &told, &length));
    tell("LINGER then", told.l_linger);
    struct tcp_info info = {0};
    length = sizeof(info);
    tell("TCP_INFO", getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length));
    tell("its state", info.tcpi_state);
    char name[16] = "";
    length = sizeof(name);
    tell("CONGESTION", getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &length));
    tell_bool("it has a name", name[0] != '\0');
    length = 1;
    tell("getsockopt of 1 byte", getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, name, &length));
    tell("its length", length);
    struct ucred owner = {1, 1, 1};
    length = sizeof(owner);
    tell("PEERCRED", getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &owner, &length));
    tell("its pid", owner.pid);
}

int main(void)
{
    int fd = tcp(0), value = 0;
    tell("NODELAY before", set(fd, IPPROTO_TCP, TCP_NODELAY, 1));
    tell("KEEPALIVE before", set(fd, SOL_SOCKET, SO_KEEPALIVE, 1));
    tell("KEEPIDLE before", set(fd, IPPROTO_TCP, TCP_KEEPIDLE, 61));
    tell("REUSEADDR before", set(fd, SOL_SOCKET, SO_REUSEADDR, 1));
    tell("SNDBUF before", set(fd, SOL_SOCKET, SO_SNDBUF, 50000));
    struct timeval limit = {.tv_sec = 7, .tv_usec = 120000}, seen = {0};
    tell("RCVTIMEO before", setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)));
    tell("connect", connect_to(fd, "ECHO"));
    tell_option("NODELAY", fd, IPPROTO_TCP, TCP_NODELAY);
    tell_option("KEEPALIVE", fd, SOL_SOCKET, SO_KEEPALIVE);
    tell_option("KEEPIDLE", fd, IPPROTO_TCP, TCP_KEEPIDLE);
    tell_option("REUSEADDR", fd, SOL_SOCKET, SO_REUSEADDR);
    tell_option("SNDBUF", fd, SOL_SOCKET, SO_SNDBUF);
    socklen_t length = sizeof(seen);
    getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &seen, &length);
    tell("RCVTIMEO", seen.tv_sec * 1000 + seen.tv_usec / 1000);
    tell("clear NODELAY", set(fd, IPPROTO_TCP, TCP_NODELAY, 0));
    tell_option("NODELAY then", fd, IPPROTO_TCP, TCP_NODELAY);
    tell("KEEPINTVL", set(fd, IPPROTO_TCP, TCP_KEEPINTVL, 5));
    tell_option("KEEPINTVL then", fd, IPPROTO_TCP, TCP_KEEPINTVL);
    tell("KEEPCNT out of range", set(fd, IPPROTO_TCP, TCP_KEEPCNT, 100000));
    tell("USER_TIMEOUT", set(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, 30000));
    tell_option("USER_TIMEOUT then", fd, IPPROTO_TCP, TCP_USER_TIMEOUT);
    tell("QUICKACK", set(fd, IPPROTO_TCP, TCP_QUICKACK, 1));
    tell("CORK", set(fd, IPPROTO_TCP, TCP_CORK, 0));
    tell("IP_TOS", set(fd, IPPROTO_IP, IP_TOS, 0x10));
    tell_option("IP_TOS then", fd, IPPROTO_IP, IP_TOS);
    tell("unknown option", set(fd, IPPROTO_TCP, 9999, 1));
    tell_option("unknown option read", fd, IPPROTO_TCP, 9999);
    tell("unknown level", set(fd, 250, 1, 1));
    tell("short value", setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, 1));
    tell("no value", setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, NULL, 4));
    tell("bad value", setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, (void *)8, 4));
    structures(fd);
    tell_option("TYPE", fd, SOL_SOCKET, SO_TYPE);
    tell_option("DOMAIN", fd, SOL_SOCKET, SO_DOMAIN);
    tell_option("PROTOCOL", fd, SOL_SOCKET, SO_PROTOCOL);
    tell_option("ACCEPTCONN", fd, SOL_SOCKET, SO_ACCEPTCONN);
    tell_bool("echo", echoes(fd, "with options"));
    usleep(100000);
    tell("SIOCOUTQ", ioctl(fd, SIOCOUTQ, &value));
    tell("all sent", value);
    (void)!write(fd, "abc", 3);
    (void)wait_events(fd, POLLIN, LONG_MS);
    tell("FIONREAD", ioctl(fd, FIONREAD, &value));
    tell("to read", value);
    struct linger none = {0, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
    close(fd);
    return 0;
}
