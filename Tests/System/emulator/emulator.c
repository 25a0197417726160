/* Emulates links between network namespaces, for tests: the kernels at hand have no netem.

     emulator LINK...       LINK: name,client-namespace,client-device,server-namespace,server-device[,shares]

   A link is a pair of TUN devices; what the kernel sends into one comes out of the other as late, as slowly
   and as incompletely as the link says. `shares` names an earlier link whose two queues this one uses too.
   Prints `ready` when the devices are there; their addresses are the caller's business. Obeys standard input
   (commands.h) and ends with it. The devices go with the process.

   It does not poll: it sleeps until a packet comes or one is due, and then QUANTUM at least, so that packets
   are handled in batches. Arrivals and deliveries are late by up to that; rates are exact, since they are
   reckoned and not timed. Where it may, it runs before other processes: a busy machine is no slow link. */
#define _GNU_SOURCE
#include "commands.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

static const int64_t QUANTUM = 200000;
/* Packets taken from a device before the others have their turn. */
static const int BATCH = 64;

static int64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void fail(const char *what)
{
    fprintf(stderr, "emulator: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* A TUN device in a namespace of /run/netns. Without offloads: the kernel cuts large segments before they
   come here, so that each read is one packet of the wire. */
static int open_tun(const char *namespace, const char *device)
{
    char path[256];
    snprintf(path, sizeof path, "/run/netns/%s", namespace);
    int space = open(path, O_RDONLY | O_CLOEXEC);
    if (space < 0 || setns(space, CLONE_NEWNET) != 0) {
        fail(path);
    }
    close(space);
    int tun = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (tun < 0) {
        fail("/dev/net/tun");
    }
    struct ifreq request;
    memset(&request, 0, sizeof request);
    request.ifr_flags = IFF_TUN | IFF_NO_PI;
    snprintf(request.ifr_name, IFNAMSIZ, "%s", device);
    if (ioctl(tun, TUNSETIFF, &request) != 0) {
        fail(device);
    }
    return tun;
}

static void add_link(struct emulator *emulator, char *text)
{
    char *rest = text, *words[6] = {0};
    for (int i = 0; i < 6; i++) {
        words[i] = strsep(&rest, ",");
    }
    if (!words[4] || emulator->count == LINKS) {
        fprintf(stderr, "emulator: bad link, or too many\n");
        exit(2);
    }
    struct link *link = &emulator->links[emulator->count];
    snprintf(link->name, sizeof link->name, "%s", words[0]);
    struct pipe *pipes = link->own;
    for (int i = 0; words[5] && i < emulator->count; i++) {
        if (strcmp(emulator->links[i].name, words[5]) == 0) {
            pipes = emulator->links[i].own;
        }
    }
    if (words[5] && pipes == link->own) {
        fprintf(stderr, "emulator: %s shares an unknown link\n", link->name);
        exit(2);
    }
    for (int i = 0; i < 2; i++) {
        line_init(&link->lines[i], &pipes[i], (uint64_t)(emulator->count * 2 + i + 1));
    }
    link->client = open_tun(words[1], words[2]);
    link->server = open_tun(words[3], words[4]);
    link->lines[UP].out = link->server;
    link->lines[DOWN].out = link->client;
    emulator->count++;
}

static void receive(int tun, struct line *line, int64_t now)
{
    for (int i = 0; i < BATCH; i++) {
        struct packet *packet = packet_new();
        ssize_t size = read(tun, packet->bytes, PACKET_BYTES);
        if (size <= 0) {
            packet_free(packet);
            return;
        }
        packet->size = (int)size;
        line_take(line, packet, now);
    }
}

/* What has come to a device, whichever it is. */
static void receive_from(struct emulator *emulator, int tun, int64_t now)
{
    for (int i = 0; i < emulator->count; i++) {
        struct link *link = &emulator->links[i];
        if (tun == link->client || tun == link->server) {
            receive(tun, &link->lines[tun == link->client ? UP : DOWN], now);
            return;
        }
    }
}

/* Reads commands; false at the end of them. */
static bool obey(struct emulator *emulator, int64_t now)
{
    static char text[COMMAND_BYTES];
    static size_t held;
    ssize_t size = read(STDIN_FILENO, text + held, sizeof text - held);
    if (size <= 0) {
        return size < 0 && errno == EAGAIN;
    }
    held += (size_t)size;
    char *newline;
    while ((newline = memchr(text, '\n', held))) {
        *newline = 0;
        command(emulator, text, now, true);
        held -= (size_t)(newline + 1 - text);
        memmove(text, newline + 1, held);
    }
    return held < sizeof text;
}

/* Everything that is due; returns when the next thing is. */
static int64_t turn(struct emulator *emulator, const struct epoll_event *events, int count)
{
    int64_t now = now_ns(), next = plans_run(emulator, now);
    for (int i = 0; i < count; i++) {
        receive_from(emulator, events[i].data.fd, now);
    }
    now = now_ns();
    for (int i = 0; i < 2 * emulator->count; i++) {
        pipe_advance(emulator->links[i / 2].lines[i % 2].pipe, now);
    }
    for (int i = 0; i < 2 * emulator->count; i++) {
        struct line *line = &emulator->links[i / 2].lines[i % 2];
        line_deliver(line, now, emulator->begun);
        int64_t pipe = pipe_next(line->pipe, now), out = line_next(line);
        next = pipe < next ? pipe : next;
        next = out < next ? out : next;
    }
    return next;
}

static void set_timer(int timer, int64_t at)
{
    struct itimerspec when = {0};
    if (at != INT64_MAX) {
        when.it_value.tv_sec = at / 1000000000;
        when.it_value.tv_nsec = at % 1000000000;
    }
    timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, NULL);
}

static void watch(int poll, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event) != 0) {
        fail("epoll_ctl");
    }
}

static void run(struct emulator *emulator)
{
    int poll = epoll_create1(EPOLL_CLOEXEC);
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    watch(poll, timer);
    watch(poll, STDIN_FILENO);
    for (int i = 0; i < emulator->count; i++) {
        watch(poll, emulator->links[i].client);
        watch(poll, emulator->links[i].server);
    }
    struct epoll_event events[2 * LINKS + 2];
    for (;;) {
        int count = epoll_wait(poll, events, 2 * LINKS + 2, -1);
        int64_t woken = now_ns();
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == STDIN_FILENO && !obey(emulator, woken)) {
                return;
            }
        }
        set_timer(timer, turn(emulator, events, count));
        int64_t rest = woken + QUANTUM;
        struct timespec until = {.tv_sec = rest / 1000000000, .tv_nsec = rest % 1000000000};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
    }
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: emulator name,namespace,device,namespace,device[,shares]...\n");
        return 2;
    }
    static struct emulator emulator;
    for (int i = 1; i < argc; i++) {
        add_link(&emulator, argv[i]);
    }
    emulator.begun = now_ns();
    struct sched_param first = {.sched_priority = 1};
    if (sched_setscheduler(0, SCHED_FIFO, &first) != 0 || mlockall(MCL_CURRENT | MCL_FUTURE) != 0) {
        fprintf(stderr, "emulator: no real-time priority (%s): a busy machine will show\n", strerror(errno));
    }
    prctl(PR_SET_TIMERSLACK, 1000UL);
    fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK);
    puts("ready");
    fflush(stdout);
    run(&emulator);
    return 0;
}
