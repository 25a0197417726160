// What the shim costs a connect() that is none of its business.
//
//   connect PAIRS     under the shim; prints "ratio native_us shim_us" (medians)
//
// Each pair is a connect through the shim and one through libc's own function, in turns first, both to a
// listener of this process on loopback, which no engine serves. The ratio is the median of the pairs' ratios.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define WARM_UP 500

typedef int (*connect_function)(int, const struct sockaddr *, socklen_t);

static double now_us(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e6 + (double)time.tv_nsec / 1e3;
}

static int listener_on_loopback(struct sockaddr_in *address)
{
    socklen_t length = sizeof *address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *address = (struct sockaddr_in){.sin_family = AF_INET};
    address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(listener, (struct sockaddr *)address, length) != 0 || listen(listener, 16) != 0 ||
        getsockname(listener, (struct sockaddr *)address, &length) != 0)
        return -1;
    return listener;
}

// Microseconds of one connect; negative: it failed. A reset at the end leaves no port behind in TIME_WAIT.
static double once(connect_function function, int listener, const struct sockaddr_in *address)
{
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    double start = now_us();
    int failed = function(fd, (const struct sockaddr *)address, sizeof *address);
    double end = now_us();
    int peer = failed ? -1 : accept(listener, NULL, NULL);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(fd);
    if (peer < 0)
        return -1;
    close(peer);
    return end - start;
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

int main(int argc, char **argv)
{
    int pairs = argc == 2 ? atoi(argv[1]) : 0;
    double *columns = pairs > 0 ? calloc(3 * (size_t)pairs, sizeof *columns) : NULL;
    if (columns == NULL) {
        fprintf(stderr, "usage: connect PAIRS\n");
        return 2;
    }
    double *native_times = columns, *shim_times = columns + pairs, *ratios = columns + 2 * pairs;
    void *libc = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);
    void *symbol = libc ? dlsym(libc, "connect") : NULL;
    connect_function native = NULL, shim = connect;
    memcpy(&native, &symbol, sizeof native);
    if (native == NULL || native == shim) {
        fprintf(stderr, "connect is libc's own: this runs under the shim only\n");
        return 1;
    }
    struct sockaddr_in address;
    int listener = listener_on_loopback(&address);
    for (int index = -WARM_UP; index < pairs; index++) {
        double first = once(index & 1 ? native : shim, listener, &address);
        double second = once(index & 1 ? shim : native, listener, &address);
        if (first < 0 || second < 0) {
            perror("connect");
            return 1;
        }
        if (index < 0)
            continue;
        native_times[index] = index & 1 ? first : second;
        shim_times[index] = index & 1 ? second : first;
        ratios[index] = shim_times[index] / native_times[index];
    }
    printf("%.4f %.2f %.2f\n", median(ratios, pairs), median(native_times, pairs), median(shim_times, pairs));
    return 0;
}
