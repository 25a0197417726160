/* Transfers that check every byte and note when it came.

     transfer sink TRUTH                      standard input against a file; a line of JSON
     transfer get HOST PORT PATH TRUTH        one HTTP request; a line of JSON
     transfer serve HOST PORT DIRECTORY       HTTP: GET gives a file; PUT of /NAME compares the body with the
                                              file NAME and answers with the line of JSON
   Before them: --mptcp (sockets of IPPROTO_MPTCP), --congestion NAME (set before connect and listen, so that
   joined subflows have it too). Connections are kept alive. No names are looked up: HOST is an IPv4 address.

   JSON: bytes, corrupt (offset of the first wrong byte, -1: none), begun_ns (CLOCK_MONOTONIC), first_ms and
   last_ms since then, gaps (those of GAP_MS and more: [begin ms, length ms, offset]), bin_ms, progress (bytes
   so far at the end of each bin). */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { BIN_MS = 10, BINS = 12000, GAPS = 64, GAP_MS = 60, READ_BYTES = 1 << 18, HEAD_BYTES = 4096 };

struct meter {
    const unsigned char *truth;
    int64_t truth_bytes, bytes, corrupt;
    int64_t begun, first, last;
    int gap_count;
    int64_t gaps[GAPS][3];
    int64_t progress[BINS];
};

static bool use_mptcp;
static const char *congestion;
static unsigned char buffer[READ_BYTES];

static int64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void fail(const char *what)
{
    fprintf(stderr, "transfer: %s: %s\n", what, strerror(errno));
    exit(1);
}

static bool meter_init(struct meter *meter, const char *truth)
{
    memset(meter, 0, sizeof *meter);
    meter->corrupt = -1;
    meter->begun = now_ns();
    int file = open(truth, O_RDONLY | O_CLOEXEC);
    struct stat status;
    if (file < 0 || fstat(file, &status) != 0) {
        return false;
    }
    meter->truth_bytes = status.st_size;
    meter->truth = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_SHARED | MAP_POPULATE, file, 0);
    close(file);
    return meter->truth != MAP_FAILED;
}

static void meter_compare(struct meter *meter, const unsigned char *bytes, int64_t count)
{
    int64_t known = meter->truth_bytes - meter->bytes;
    known = known < 0 ? 0 : known < count ? known : count;
    const unsigned char *wanted = meter->truth + meter->bytes;
    if (meter->corrupt >= 0 || (known == count && memcmp(bytes, wanted, (size_t)count) == 0)) {
        return;
    }
    int64_t same = 0;
    while (same < known && bytes[same] == wanted[same]) {
        same++;
    }
    meter->corrupt = meter->bytes + same;
}

static void meter_take(struct meter *meter, const unsigned char *bytes, int64_t count)
{
    int64_t now = now_ns(), since = meter->last ? now - meter->last : 0;
    meter_compare(meter, bytes, count);
    if (since >= GAP_MS * 1000000LL && meter->gap_count < GAPS) {
        int64_t *gap = meter->gaps[meter->gap_count++];
        gap[0] = meter->last - meter->begun;
        gap[1] = since;
        gap[2] = meter->bytes;
    }
    if (!meter->first) {
        meter->first = now;
    }
    meter->last = now;
    meter->bytes += count;
    int64_t bin = (now - meter->begun) / (BIN_MS * 1000000LL);
    meter->progress[bin < BINS ? bin : BINS - 1] = meter->bytes;
}

static double ms(int64_t ns)
{
    return ns < 0 ? -1 : (double)ns / 1e6;
}

static void meter_print(struct meter *meter, FILE *out)
{
    fprintf(out, "{\"bytes\":%lld,\"corrupt\":%lld,\"begun_ns\":%lld,\"first_ms\":%.3f,\"last_ms\":%.3f,",
            (long long)meter->bytes, (long long)meter->corrupt, (long long)meter->begun,
            ms(meter->first - meter->begun), ms(meter->last - meter->begun));
    fprintf(out, "\"gaps\":[");
    for (int i = 0; i < meter->gap_count; i++) {
        fprintf(out, "%s[%.1f,%.1f,%lld]", i ? "," : "", ms(meter->gaps[i][0]), ms(meter->gaps[i][1]),
                (long long)meter->gaps[i][2]);
    }
    fprintf(out, "],\"bin_ms\":%d,\"progress\":[", BIN_MS);
    int64_t end = meter->last ? (meter->last - meter->begun) / (BIN_MS * 1000000LL) : -1, so_far = 0;
    for (int64_t i = 0; i <= end && i < BINS; i++) {
        so_far = meter->progress[i] ? meter->progress[i] : so_far;
        fprintf(out, i ? ",%lld" : "%lld", (long long)so_far);
    }
    fprintf(out, "]}\n");
}

static int sink(const char *truth)
{
    static struct meter meter;
    if (!meter_init(&meter, truth)) {
        fail(truth);
    }
    ssize_t count;
    while ((count = read(STDIN_FILENO, buffer, sizeof buffer)) > 0) {
        meter_take(&meter, buffer, count);
    }
    meter_print(&meter, stdout);
    return 0;
}

static int new_socket(const char *host, const char *port, struct sockaddr_in *address)
{
    memset(address, 0, sizeof *address);
    address->sin_family = AF_INET;
    address->sin_port = htons((uint16_t)atoi(port));
    if (inet_pton(AF_INET, host, &address->sin_addr) != 1) {
        fail(host);
    }
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, use_mptcp ? IPPROTO_MPTCP : IPPROTO_TCP);
    if (fd < 0) {
        fail("socket");
    }
    if (congestion &&
        setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, congestion, (socklen_t)strlen(congestion)) != 0) {
        fail(congestion);
    }
    return fd;
}

/* Reads a head up to its empty line into `head`; the bytes after it that came too are left at `*rest` in the
   buffer. Returns the length of the head, 0 at the end of the connection. */
static size_t read_head(int fd, char *head, size_t *rest)
{
    size_t held = 0;
    for (;;) {
        ssize_t count = read(fd, head + held, HEAD_BYTES - 1 - held);
        if (count <= 0) {
            return 0;
        }
        held += (size_t)count;
        head[held] = 0;
        char *end = strstr(head, "\r\n\r\n");
        if (end) {
            *rest = held - (size_t)(end + 4 - head);
            return (size_t)(end + 4 - head);
        }
        if (held == HEAD_BYTES - 1) {
            return 0;
        }
    }
}

static int64_t content_length(const char *head)
{
    const char *field = strcasestr(head, "\r\nContent-Length:");
    return field ? atoll(field + 17) : 0;
}

static bool write_all(int fd, const char *bytes, size_t count)
{
    while (count > 0) {
        ssize_t written = write(fd, bytes, count);
        if (written <= 0) {
            return false;
        }
        bytes += written;
        count -= (size_t)written;
    }
    return true;
}

/* Takes a body, of which `head` holds `held` bytes from `start` on; false if the connection ended first. */
static bool take_body(int fd, struct meter *meter, int64_t size, const char *head, size_t start, size_t held)
{
    if (held > 0) {
        meter_take(meter, (const unsigned char *)head + start, (int64_t)held);
    }
    while (meter->bytes < size) {
        int64_t left = size - meter->bytes;
        ssize_t count = read(fd, buffer, left < READ_BYTES ? (size_t)left : READ_BYTES);
        if (count <= 0) {
            return false;
        }
        meter_take(meter, buffer, count);
    }
    return true;
}

static int get(const char *host, const char *port, const char *path, const char *truth)
{
    static struct meter meter;
    if (!meter_init(&meter, truth)) {
        fail(truth);
    }
    struct sockaddr_in address;
    int fd = new_socket(host, port, &address);
    meter.begun = now_ns();
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        fail("connect");
    }
    char head[HEAD_BYTES];
    int size = snprintf(head, sizeof head, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, host);
    size_t rest, start;
    if (!write_all(fd, head, (size_t)size) || !(start = read_head(fd, head, &rest))) {
        fail("no answer");
    }
    if (strncmp(head, "HTTP/1.1 200", 12) != 0) {
        fprintf(stderr, "transfer: %.40s\n", head);
        return 1;
    }
    bool whole = take_body(fd, &meter, content_length(head), head, start, rest);
    meter_print(&meter, stdout);
    return whole ? 0 : 1;
}

static bool give_file(int fd, const char *path)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    if (file < 0 || fstat(file, &status) != 0) {
        static const char refusal[] = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
        return write_all(fd, refusal, sizeof refusal - 1);
    }
    char head[128];
    int size = snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %lld\r\n\r\n",
                        (long long)status.st_size);
    bool good = write_all(fd, head, (size_t)size);
    off_t offset = 0;
    while (good && offset < status.st_size) {
        good = sendfile(fd, file, &offset, (size_t)(status.st_size - offset)) > 0;
    }
    close(file);
    return good;
}

static bool take_file(int fd, const char *path, const char *head, size_t start, size_t held)
{
    static struct meter meter;
    if (!meter_init(&meter, path) || !take_body(fd, &meter, content_length(head), head, start, held)) {
        return false;
    }
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    meter_print(&meter, out);
    fclose(out);
    char answer[128];
    int length = snprintf(answer, sizeof answer, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", size);
    bool good = write_all(fd, answer, (size_t)length) && write_all(fd, text, size);
    free(text);
    return good;
}

static void converse(int fd, const char *directory)
{
    char head[HEAD_BYTES], verb[8], name[64], path[512];
    size_t rest, start;
    while ((start = read_head(fd, head, &rest)) > 0) {
        if (sscanf(head, "%7s /%63[A-Za-z0-9_-] ", verb, name) != 2) {
            return;
        }
        snprintf(path, sizeof path, "%s/%s", directory, name);
        bool get = strcmp(verb, "GET") == 0;
        if (get ? !give_file(fd, path) : !take_file(fd, path, head, start, rest)) {
            return;
        }
    }
}

static int serve(const char *host, const char *port, const char *directory)
{
    struct sockaddr_in address;
    int listener = new_socket(host, port, &address), on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    signal(SIGCHLD, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 64) != 0) {
        fail("bind");
    }
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0) {
            continue;
        }
        if (fork() == 0) {
            close(listener);
            converse(fd, directory);
            _exit(0);
        }
        close(fd);
    }
}

int main(int argc, char **argv)
{
    char **words = argv + 1;
    for (; argc > 2 && strncmp(*words, "--", 2) == 0; words++, argc--) {
        if (strcmp(*words, "--mptcp") == 0) {
            use_mptcp = true;
        } else if (strcmp(*words, "--congestion") == 0) {
            congestion = *++words;
            argc--;
        }
    }
    if (argc == 3 && strcmp(words[0], "sink") == 0) {
        return sink(words[1]);
    }
    if (argc == 6 && strcmp(words[0], "get") == 0) {
        return get(words[1], words[2], words[3], words[4]);
    }
    if (argc == 5 && strcmp(words[0], "serve") == 0) {
        return serve(words[1], words[2], words[3]);
    }
    fprintf(stderr, "usage: transfer [--mptcp] [--congestion NAME] sink|get|serve ...\n");
    return 2;
}
