/* What the conformance programs share. Each prints lines of `check: result`, the same over TCP and Kwik. */
#ifndef CHECK_H
#define CHECK_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define SHORT_MS 150
#define LONG_MS 5000

static inline const char *errno_name(int code)
{
    const char *name = strerrorname_np(code);
    return code == 0 ? "0" : name != NULL ? name : "?";
}

/* "0", "12" or an errno's name. */
static inline void tell(const char *name, long result)
{
    int error = errno;
    if (result < 0)
        printf("%s: %s\n", name, errno_name(error));
    else
        printf("%s: %ld\n", name, result);
    fflush(stdout);
}

static inline void tell_text(const char *name, const char *text)
{
    printf("%s: %s\n", name, text);
    fflush(stdout);
}

static inline void tell_bool(const char *name, bool truth)
{
    tell_text(name, truth ? "yes" : "no");
}

static inline void tell_mask(const char *name, short mask)
{
    printf("%s:%s%s%s%s%s%s\n", name, mask & POLLIN ? " IN" : "", mask & POLLOUT ? " OUT" : "",
           mask & POLLERR ? " ERR" : "", mask & POLLHUP ? " HUP" : "", mask & POLLRDHUP ? " RDHUP" : "",
           mask == 0 ? " nothing" : "");
    fflush(stdout);
}

static inline in_port_t port(const char *kind)
{
    char name[32];
    snprintf(name, sizeof(name), "%s_PORT", kind);
    const char *value = getenv(name);
    if (value == NULL) {
        fprintf(stderr, "%s is not set\n", name);
        exit(2);
    }
    return htons((uint16_t)atoi(value));
}

static inline struct sockaddr_in at(const char *kind)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = port(kind)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static inline int tcp(int flags)
{
    int fd = socket(AF_INET, SOCK_STREAM | flags, 0);
    if (fd < 0) {
        perror("socket");
        exit(2);
    }
    return fd;
}

static inline int connect_to(int fd, const char *kind)
{
    struct sockaddr_in address = at(kind);
    return connect(fd, (struct sockaddr *)&address, sizeof(address));
}

static inline int connected_to(const char *kind)
{
    int fd = tcp(0);
    if (connect_to(fd, kind) != 0) {
        perror("connect");
        exit(2);
    }
    return fd;
}

/* The events within the time, or 0. */
static inline short wait_events(int fd, short events, int milliseconds)
{
    struct pollfd entry = {.fd = fd, .events = events};
    return poll(&entry, 1, milliseconds) == 1 ? entry.revents : 0;
}

static inline int socket_error(int fd)
{
    int error = -1;
    socklen_t length = sizeof(error);
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0 ? error : -1;
}

static inline void tell_socket_error(const char *name, int fd)
{
    tell_text(name, errno_name(socket_error(fd)));
}

static inline bool read_exactly(int fd, void *buffer, size_t count)
{
    size_t got = 0;
    while (got < count) {
        ssize_t n = read(fd, (char *)buffer + got, count - got);
        if (n <= 0)
            return false;
        got += (size_t)n;
    }
    return true;
}

/* Writes the text and reads it back. */
static inline bool echoes(int fd, const char *text)
{
    char buffer[256];
    size_t count = strlen(text);
    return send(fd, text, count, MSG_NOSIGNAL) == (ssize_t)count && read_exactly(fd, buffer, count)
           && memcmp(buffer, text, count) == 0;
}

static inline void ignore_signal(int number)
{
    (void)number;
}

static inline void on_signal(int number, void (*handler)(int), int flags)
{
    struct sigaction action = {.sa_flags = flags};
    action.sa_handler = handler;
    sigaction(number, &action, NULL);
}

static inline void alarm_in(int milliseconds, int again)
{
    struct itimerval timer = {.it_value = {milliseconds / 1000, milliseconds % 1000 * 1000},
                              .it_interval = {again / 1000, again % 1000 * 1000}};
    setitimer(ITIMER_REAL, &timer, NULL);
}

static inline int open_descriptors(void)
{
    int count = 0;
    DIR *directory = opendir("/proc/self/fd");
    while (directory != NULL && readdir(directory) != NULL)
        count++;
    if (directory != NULL)
        closedir(directory);
    return count;
}

#endif
