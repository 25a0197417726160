#define _GNU_SOURCE
#include "CLinux.h"

#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

enum { most_events = 64 };

static const int64_t second = 1000000000, millisecond = 1000000, longest = 3600 * (int64_t)1000000000;

int kwik_epoll_create(void) {
    int fd = epoll_create1(EPOLL_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static int control(int epoll, int operation, int fd, uint32_t events, uint64_t token) {
    struct epoll_event event = {.events = events, .data = {.u64 = token}};
    return epoll_ctl(epoll, operation, fd, &event) < 0 ? -errno : 0;
}

int kwik_epoll_add(int epoll, int fd, uint32_t events, uint64_t token) {
    return control(epoll, EPOLL_CTL_ADD, fd, events, token);
}

int kwik_epoll_change(int epoll, int fd, uint32_t events, uint64_t token) {
    return control(epoll, EPOLL_CTL_MOD, fd, events, token);
}

int kwik_epoll_remove(int epoll, int fd) { return control(epoll, EPOLL_CTL_DEL, fd, 0, 0); }

// Where the finer call is missing or filtered, a millisecond too late is better than too early.
static int wait_for(int epoll, struct epoll_event *events, int capacity, int64_t nanoseconds) {
    if (nanoseconds < 0)
        return epoll_wait(epoll, events, capacity, -1);
    if (nanoseconds > longest)
        nanoseconds = longest;
    struct timespec time = {.tv_sec = nanoseconds / second, .tv_nsec = nanoseconds % second};
    int count = epoll_pwait2(epoll, events, capacity, &time, NULL);
    if (count < 0 && (errno == ENOSYS || errno == EPERM))
        count = epoll_wait(epoll, events, capacity, (int)((nanoseconds + millisecond - 1) / millisecond));
    return count;
}

int kwik_epoll_wait(int epoll, struct kwik_ready *ready, int capacity, int64_t nanoseconds) {
    struct epoll_event events[most_events];
    int count = wait_for(epoll, events, capacity < most_events ? capacity : most_events, nanoseconds);
    if (count < 0)
        return -errno;
    for (int index = 0; index < count; index++)
        ready[index] = (struct kwik_ready){.token = events[index].data.u64, .events = events[index].events};
    return count;
}

int kwik_signal_open(int number) {
    sigset_t signals;
    sigemptyset(&signals);
    if (sigaddset(&signals, number) < 0)
        return -errno;
    int blocked = pthread_sigmask(SIG_BLOCK, &signals, NULL);
    if (blocked != 0)
        return -blocked;
    int fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    return fd < 0 ? -errno : fd;
}

int kwik_signal_take(int fd) {
    struct signalfd_siginfo info;
    return read(fd, &info, sizeof info) == (ssize_t)sizeof info;
}
