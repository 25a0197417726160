// The same bytes over bare QUIC, for CPU seconds per GiB to compare Kwik's with.
//
//   baseline serve PORT CERTIFICATE KEY MIB       sends MIB MiB to the one client that comes, out of memory
//   baseline serve PORT CERTIFICATE KEY URL HTTP  sends what the HTTP server on port HTTP answers for URL
//   baseline fetch PORT                           receives them, and writes them into an AF_UNIX stream that
//                                                 another process drains
//
// Each prints "bytes cpu_s wall_s" of its own process at the end: fetch without the reader, as kwikd is
// counted without the program, serve without the HTTP server, as a gateway is counted without its backend.

#define _GNU_SOURCE
#include "baseline.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>

#define SECOND 1000000000ull
#define MEMORY (1u << 20)
#define READ_SIZE (256u << 10)

// Bytes on their way from the connection to the reader: a ring of one stream window, which is what the
// server may send before they are taken.
struct pipe {
    struct quic quic;
    int unix_end;
    uint8_t *ring;
    uint64_t in, out;
    bool ended;
};

static void report(uint64_t bytes, uint64_t begun)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    double cpu = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                 (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    printf("%llu %.3f %.3f\n", (unsigned long long)bytes, cpu, (double)(quic_now() - begun) / 1e9);
    fflush(stdout);
}

// Sleeps until a socket is ready or a timer is due.
static void rest(const struct quic *quic, struct pollfd *entries, int count)
{
    uint64_t patience = quic_patience(quic);
    struct timespec time = {.tv_sec = 3600};
    if (patience < 3600 * SECOND)
        time = (struct timespec){.tv_sec = (time_t)(patience / SECOND), .tv_nsec = (long)(patience % SECOND)};
    if (ppoll(entries, (nfds_t)count, &time, NULL) < 0 && errno != EINTR)
        quic_fail("poll");
}

// MARK: Server

static void requested(void *owner, const uint8_t *bytes, size_t count, bool end)
{
    (void)owner, (void)bytes, (void)count, (void)end;
}

static int ask(const char *url, const char *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    char request[256];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int length = snprintf(request, sizeof request, "GET %s HTTP/1.0\r\n\r\n", url);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        send(fd, request, (size_t)length, 0) != length)
        quic_fail("the HTTP server");
    return fd;
}

// Reads as far as the ring has room: what is not acknowledged stays.
static void fill(struct quic *quic, int source)
{
    while (!quic->ended && quic->end < quic->acked + quic->ring_size) {
        size_t at = quic->end % quic->ring_size, room = quic->acked + quic->ring_size - quic->end;
        if (room > quic->ring_size - at)
            room = quic->ring_size - at;
        ssize_t count = recv(source, quic->ring + at, room, MSG_DONTWAIT);
        if (count < 0 && errno != EAGAIN)
            quic_fail("the HTTP server");
        if (count < 0)
            return;
        quic->ended = count == 0;
        quic->end += (uint64_t)count;
    }
}

static int serve(const char *port, const char *certificate, const char *key, const char *what,
                 const char *http)
{
    struct quic quic = {.received = requested, .ring_size = http ? STREAM_WINDOW : MEMORY};
    struct pollfd entries[2] = {{.events = POLLIN}, {.events = POLLIN, .fd = -1}};
    quic.local = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    quic.local.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    entries[0].fd = quic.udp = quic_socket(&quic.local);
    quic_accept(&quic, certificate, key);
    quic.ring = calloc(1, quic.ring_size);
    int source = http ? ask(what, http) : -1;
    if (source < 0) {
        quic.end = (uint64_t)atoll(what) << 20;
        quic.ended = true;
    }
    uint64_t begun = quic_now();
    while (!quic.closed_stream && !quic.closed) {
        bool has_room = source >= 0 && !quic.ended && quic.end < quic.acked + quic.ring_size;
        entries[1].fd = has_room ? source : -1;
        rest(&quic, entries, 2);
        if (source >= 0)
            fill(&quic, source);
        quic_receive(&quic);
        quic_write(&quic);
    }
    report(quic.sent, begun);
    return 0;
}

// MARK: Client

static void arrived(void *owner, const uint8_t *bytes, size_t count, bool end)
{
    struct pipe *pipe = owner;
    size_t at = pipe->in % STREAM_WINDOW;
    size_t first = STREAM_WINDOW - at < count ? STREAM_WINDOW - at : count;
    memcpy(pipe->ring + at, bytes, first);
    memcpy(pipe->ring, bytes + first, count - first);
    pipe->in += count;
    pipe->ended = pipe->ended || end;
}

static void deliver(struct pipe *pipe)
{
    while (pipe->out < pipe->in) {
        size_t at = pipe->out % STREAM_WINDOW;
        uint64_t count = pipe->in - pipe->out;
        if (count > STREAM_WINDOW - at)
            count = STREAM_WINDOW - at;
        ssize_t written = send(pipe->unix_end, pipe->ring + at, count, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (written < 0) {
            if (errno != EAGAIN)
                quic_fail("the reader");
            return;
        }
        pipe->out += (uint64_t)written;
        quic_consumed(&pipe->quic, (uint64_t)written);
    }
}

static void drain(int fd)
{
    uint8_t *buffer = malloc(READ_SIZE);
    while (buffer != NULL && read(fd, buffer, READ_SIZE) > 0)
        continue;
    _exit(0);
}

static int fetch(const char *port)
{
    struct pipe pipe = {.quic = {.received = arrived, .owner = &pipe, .ended = true}};
    struct sockaddr_in remote = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    int ends[2];
    remote.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0)
        quic_fail("socketpair");
    if (fork() == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(ends[0]);
        drain(ends[1]);
    }
    close(ends[1]);
    pipe.unix_end = ends[0];
    pipe.ring = malloc(STREAM_WINDOW);
    quic_connect(&pipe.quic, &remote);
    uint64_t begun = quic_now();
    while (!pipe.ended || pipe.out < pipe.in) {
        struct pollfd entries[2] = {{.fd = pipe.quic.udp, .events = POLLIN},
                                    {.fd = pipe.unix_end, .events = pipe.out < pipe.in ? POLLOUT : 0}};
        quic_receive(&pipe.quic);
        deliver(&pipe);
        if (pipe.quic.handshake_done && pipe.quic.stream < 0 &&
            ngtcp2_conn_open_bidi_stream(pipe.quic.connection, &pipe.quic.stream, NULL) != 0)
            quic_fail("opening a stream");
        quic_write(&pipe.quic);
        if (!pipe.ended || pipe.out < pipe.in)
            rest(&pipe.quic, entries, 2);
    }
    // The last acknowledgement may still be held back: the server would wait for it.
    quic_close(&pipe.quic);
    report(pipe.out, begun);
    close(pipe.unix_end);
    return wait(NULL) < 0;
}

int main(int argc, char **argv)
{
    if ((argc == 6 || argc == 7) && strcmp(argv[1], "serve") == 0)
        return serve(argv[2], argv[3], argv[4], argv[5], argv[6]);
    if (argc == 3 && strcmp(argv[1], "fetch") == 0)
        return fetch(argv[2]);
    fprintf(stderr, "usage: baseline serve PORT CERTIFICATE KEY MIB|URL HTTP | fetch PORT\n");
    return 2;
}
