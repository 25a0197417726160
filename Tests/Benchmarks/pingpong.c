// One byte there and back, many times: the latency that a request and its answer see.
//
//   pingpong serve PORT                     echoes on 127.0.0.1:PORT until it is killed
//   pingpong idle COUNT PORT                connects so often, says "ready", and keeps all until its input
//                                           ends
//   pingpong ask ROUNDS COUNT PORT PORT...  connects to each port; each round asks COUNT times on one
//                                           connection after the other, so that what disturbs the machine
//                                           falls on all alike. Prints a line "p50_us p99_us mean_us" for
//                                           each port: medians of its rounds.

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define WARM_UP 200
#define MAXIMAL_PEERS 8

static int fail(const char *what)
{
    perror(what);
    return 1;
}

static double now_us(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e6 + (double)time.tv_nsec / 1e3;
}

static struct sockaddr_in loopback(const char *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static void echo(int fd)
{
    char bytes[64];
    ssize_t count = read(fd, bytes, sizeof bytes);
    if (count <= 0 || write(fd, bytes, (size_t)count) != count)
        close(fd);
}

static int serve(const char *port)
{
    struct sockaddr_in address = loopback(port);
    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(listener, 4096) != 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) != 0)
        return fail("listen");
    for (;;) {
        if (epoll_wait(epoll, &event, 1, -1) != 1)
            continue;
        if (event.data.fd != listener) {
            echo(event.data.fd);
            continue;
        }
        int peer = accept(listener, NULL, NULL);
        if (peer < 0)
            return fail("accept");
        setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        event = (struct epoll_event){.events = EPOLLIN, .data.fd = peer};
        epoll_ctl(epoll, EPOLL_CTL_ADD, peer, &event);
    }
}

static int open_connection(const char *port)
{
    struct sockaddr_in address = loopback(port);
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
        return -1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static int idle(int count, const char *port)
{
    char byte;
    for (int index = 0; index < count; index++)
        if (open_connection(port) < 0)
            return fail("connect");
    printf("ready\n");
    fflush(stdout);
    return read(0, &byte, 1) < 0;
}

static int compare(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static double median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof *values, compare);
    return values[count / 2];
}

struct figures {
    double p50, p99, mean;
};

static int round_trip(int fd, double *time)
{
    char byte = 'k';
    double start = now_us();
    if (write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1 || byte != 'k')
        return fail("round trip");
    *time = now_us() - start;
    return 0;
}

static int ask(int fd, double *times, int count, struct figures *figures)
{
    double ignored, sum = 0;
    for (int index = 0; index < WARM_UP; index++)
        if (round_trip(fd, &ignored) != 0)
            return 1;
    for (int index = 0; index < count; index++) {
        if (round_trip(fd, &times[index]) != 0)
            return 1;
        sum += times[index];
    }
    figures->p50 = median(times, count);
    figures->p99 = times[count - 1 - count / 100];
    figures->mean = sum / count;
    return 0;
}

static void print_medians(const struct figures *figures, double *column, int rounds, int step)
{
    double medians[3];
    for (int which = 0; which < 3; which++) {
        for (int index = 0; index < rounds; index++) {
            const struct figures *each = &figures[index * step];
            column[index] = which == 0 ? each->p50 : which == 1 ? each->p99 : each->mean;
        }
        medians[which] = median(column, rounds);
    }
    printf("%.2f %.2f %.2f\n", medians[0], medians[1], medians[2]);
}

static int ask_all(int rounds, int count, char **ports, int peers)
{
    int fds[MAXIMAL_PEERS];
    double *times = calloc((size_t)count, sizeof *times), *column = calloc((size_t)rounds, sizeof *column);
    struct figures *figures = calloc((size_t)rounds * (size_t)peers, sizeof *figures);
    if (times == NULL || column == NULL || figures == NULL)
        return fail("memory");
    for (int peer = 0; peer < peers; peer++) {
        fds[peer] = open_connection(ports[peer]);
        if (fds[peer] < 0)
            return fail("connect");
    }
    for (int index = 0; index < rounds * peers; index++)
        if (ask(fds[index % peers], times, count, &figures[index]) != 0)
            return 1;
    for (int peer = 0; peer < peers; peer++)
        print_medians(&figures[peer], column, rounds, peers);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "serve") == 0)
        return serve(argv[2]);
    if (argc == 4 && strcmp(argv[1], "idle") == 0)
        return idle(atoi(argv[2]), argv[3]);
    int rounds = argc > 4 ? atoi(argv[2]) : 0, count = argc > 4 ? atoi(argv[3]) : 0;
    if (rounds < 1 || count < 1 || argc - 4 > MAXIMAL_PEERS || strcmp(argv[1], "ask") != 0) {
        fprintf(stderr, "usage: pingpong serve PORT | idle COUNT PORT | ask ROUNDS COUNT PORT PORT...\n");
        return 2;
    }
    return ask_all(rounds, count, argv + 4, argc - 4);
}
