/* The far end of the conformance programs: one listener per behaviour, on IPv4 and IPv6, a thread per
   connection. Prints `NAME_PORT=number` for each, then "ready". */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static char last_end[32] = "";

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static int open_socket(in_port_t port)
{
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = port, .sin6_addr = in6addr_any};
    int off = 0, fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) != 0
        || bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
        die("bind");
    return fd;
}

static in_port_t port_of(int fd)
{
    struct sockaddr_in6 address;
    socklen_t length = sizeof(address);
    if (getsockname(fd, (struct sockaddr *)&address, &length) != 0)
        die("getsockname");
    return address.sin6_port;
}

static void write_all(int fd, const char *bytes, size_t count)
{
    while (count > 0) {
        ssize_t sent = send(fd, bytes, count, MSG_NOSIGNAL);
        if (sent <= 0)
            return;
        bytes += sent;
        count -= (size_t)sent;
    }
}

static void echo(int fd)
{
    char buffer[65536];
    ssize_t count;
    while ((count = recv(fd, buffer, sizeof(buffer), 0)) > 0)
        write_all(fd, buffer, (size_t)count);
}

static void greet(int fd)
{
    write_all(fd, "hello", 5);
}

/* Two bytes in line and one out of band, and the same way back with what came. */
static void urgent(int fd)
{
    char text[8] = "";
    struct pollfd entry = {.fd = fd, .events = POLLPRI};
    for (int i = 0; i < 3; i++) {
        if (poll(&entry, 1, 5000) != 1 || recv(fd, text, 1, MSG_OOB) != 1
            || recv(fd, text + 1, 2, MSG_WAITALL) != 2)
            return;
        write_all(fd, text + 1, 2);
        (void)send(fd, text, 1, MSG_OOB | MSG_NOSIGNAL);
    }
    echo(fd);
}

/* One byte in, ten out, then RST. */
static void reset(int fd)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    char byte;
    if (recv(fd, &byte, 1, 0) == 1) {
        write_all(fd, "0123456789", 10);
        usleep(50000); /* the ten bytes are to be in the program's buffer before the RST */
    }
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

/* 100 bytes out, then reads to the end and remembers what the end was. */
static void observe(int fd)
{
    char buffer[4096];
    ssize_t count;
    memset(buffer, 'o', sizeof(buffer));
    write_all(fd, buffer, 100);
    while ((count = recv(fd, buffer, sizeof(buffer), 0)) > 0) {
    }
    int error = errno;
    pthread_mutex_lock(&lock);
    snprintf(last_end, sizeof(last_end), "%s", count == 0 ? "end of file" : strerrorname_np(error));
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

/* Tells, once, how the last observed connection ended. */
static void report(int fd)
{
    char text[sizeof(last_end)];
    pthread_mutex_lock(&lock);
    while (last_end[0] == '\0')
        pthread_cond_wait(&changed, &lock);
    memcpy(text, last_end, sizeof(text));
    last_end[0] = '\0';
    pthread_mutex_unlock(&lock);
    write_all(fd, text, strlen(text));
}

/* Never reads. */
static void deaf(int fd)
{
    (void)fd;
    sleep(3);
}

struct listener {
    int fd;
    void (*serve)(int);
};
struct connection {
    int fd;
    void (*serve)(int);
};

static void *serve_one(void *argument)
{
    struct connection *connection = argument;
    connection->serve(connection->fd);
    close(connection->fd);
    free(connection);
    return NULL;
}

__attribute__((noreturn)) static void *serve_all(void *argument)
{
    const struct listener *listener = argument;
    for (;;) {
        pthread_t thread;
        struct connection *connection = malloc(sizeof(*connection));
        if (connection == NULL)
            die("malloc");
        connection->fd = accept(listener->fd, NULL, NULL);
        connection->serve = listener->serve;
        if (connection->fd < 0 || pthread_create(&thread, NULL, serve_one, connection) != 0)
            die("accept");
        pthread_detach(thread);
    }
}

int main(void)
{
    static const struct {
        const char *name;
        void (*serve)(int);
    } kinds[] = {{"ECHO", echo}, {"GREET", greet}, {"RESET", reset}, {"OBSERVE", observe}, {"REPORT", report},
                 {"DEAF", deaf}, {"URGENT", urgent}};
    static struct listener listeners[sizeof(kinds) / sizeof(kinds[0])];
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        pthread_t thread;
        listeners[i] = (struct listener){.fd = open_socket(0), .serve = kinds[i].serve};
        if (listen(listeners[i].fd, 1024) != 0)
            die("listen");
        if (pthread_create(&thread, NULL, serve_all, &listeners[i]) != 0)
            die("thread");
        printf("%s_PORT=%d\n", kinds[i].name, ntohs(port_of(listeners[i].fd)));
    }
    /* Bound and not listening: refuses. */
    printf("REFUSED_PORT=%d\n", ntohs(port_of(open_socket(0))));
    /* A full backlog: the kernel drops further SYNs, so connects stay pending. */
    int full = open_socket(0);
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = port_of(full)};
    address.sin6_addr = in6addr_loopback;
    if (listen(full, 0) != 0)
        die("listen");
    for (int i = 0; i < 4; i++) {
        int fd = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(fd, (struct sockaddr *)&address, sizeof(address));
    }
    usleep(100000);
    printf("PENDING_PORT=%d\nready\n", ntohs(address.sin6_port));
    fflush(stdout);
    pause();
    return 0;
}
