// One byte there and back, many times: the latency that a request and its answer see.
//
//   pingpong serve PORT          echoes on 127.0.0.1:PORT until it is killed
//   pingpong ask PORT COUNT      prints "p50_us p99_us mean_us" of COUNT round trips
//   pingpong connect PORT COUNT  prints "p50_us p99_us mean_us" of COUNT connects, each closed at once

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define WARM_UP 200

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

static int serve(const char *port)
{
    struct sockaddr_in address = loopback(port);
    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(listener, 128) != 0)
        return fail("listen");
    for (;;) {
        int peer = accept(listener, NULL, NULL);
        if (peer < 0)
            return fail("accept");
        setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        char byte;
        while (read(peer, &byte, 1) == 1)
            if (write(peer, &byte, 1) != 1)
                break;
        close(peer);
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

static int compare(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static int report(double *times, int count)
{
    double sum = 0;
    for (int index = 0; index < count; index++)
        sum += times[index];
    qsort(times, (size_t)count, sizeof *times, compare);
    printf("%.1f %.1f %.1f\n", times[count / 2], times[count - 1 - count / 100], sum / count);
    return 0;
}

static int ask(const char *port, double *times, int count)
{
    int fd = open_connection(port);
    if (fd < 0)
        return fail("connect");
    for (int index = -WARM_UP; index < count; index++) {
        char byte = 'k';
        double start = now_us();
        if (write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1 || byte != 'k')
            return fail("round trip");
        if (index >= 0)
            times[index] = now_us() - start;
    }
    return report(times, count);
}

static int connects(const char *port, double *times, int count)
{
    for (int index = 0; index < count; index++) {
        double start = now_us();
        int fd = open_connection(port);
        if (fd < 0)
            return fail("connect");
        times[index] = now_us() - start;
        close(fd);
    }
    return report(times, count);
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "serve") == 0)
        return serve(argv[2]);
    int count = argc == 4 ? atoi(argv[3]) : 0;
    double *times = count > 0 ? calloc((size_t)count, sizeof *times) : NULL;
    if (times == NULL) {
        fprintf(stderr, "usage: pingpong serve PORT | ask PORT COUNT | connect PORT COUNT\n");
        return 2;
    }
    int status = strcmp(argv[1], "ask") == 0 ? ask(argv[2], times, count) : connects(argv[2], times, count);
    free(times);
    return status;
}
