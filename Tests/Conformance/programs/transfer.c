#include "../check.h"
#include <pthread.h>

#define TOTAL (48u << 20)

static unsigned char byte_at(size_t offset)
{
    return (unsigned char)((offset * 2654435761u) >> 13);
}

static size_t fill(unsigned char *buffer, size_t offset, size_t count)
{
    for (size_t i = 0; i < count; i++)
        buffer[i] = byte_at(offset + i);
    return count;
}

static bool same(const unsigned char *buffer, size_t offset, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (buffer[i] != byte_at(offset + i))
            return false;
    }
    return true;
}

/* Both ways at once, then half-closed; pieces of every size. */
static void both_ways(void)
{
    static unsigned char buffer[70001];
    size_t sent = 0, received = 0;
    bool equal = true, closed = false, ended = false;
    int fd = connected_to("ECHO");
    fcntl(fd, F_SETFL, O_NONBLOCK);
    while (!ended) {
        short events = wait_events(fd, sent < TOTAL ? POLLIN | POLLOUT : POLLIN, LONG_MS);
        if (events == 0)
            break;
        if ((events & POLLOUT) != 0 && sent < TOTAL) {
            size_t count = sent % sizeof(buffer) + 1;
            count = fill(buffer, sent, count < TOTAL - sent ? count : TOTAL - sent);
            ssize_t n = send(fd, buffer, count, MSG_NOSIGNAL);
            if (n > 0)
                sent += (size_t)n;
        }
        if ((events & (POLLIN | POLLHUP | POLLERR)) != 0) {
            ssize_t n = recv(fd, buffer, sizeof(buffer), 0);
            if (n == 0 || (n < 0 && errno != EAGAIN))
                ended = true;
            if (n > 0) {
                equal = equal && same(buffer, received, (size_t)n);
                received += (size_t)n;
            }
        }
        if (sent == TOTAL && !closed)
            closed = shutdown(fd, SHUT_WR) == 0;
    }
    tell("bytes sent", (long)sent);
    tell("bytes received", (long)received);
    tell_bool("bytes equal", equal);
    tell_socket_error("error at the end", fd);
    close(fd);
}

static void byte_by_byte(void)
{
    bool right = true;
    int fd = connected_to("ECHO"), on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    for (int i = 0; i < 2000; i++) {
        char out = (char)i, in = 0;
        right = right && write(fd, &out, 1) == 1 && read(fd, &in, 1) == 1 && in == out;
    }
    tell_bool("byte by byte", right);
    close(fd);
}

/* A peer that never reads: write space ends, and comes back as an event only when there is some. */
static void no_reader(void)
{
    static char buffer[65536];
    ssize_t count;
    int fd = connected_to("DEAF");
    fcntl(fd, F_SETFL, O_NONBLOCK);
    for (;;) {
        while ((count = send(fd, buffer, sizeof(buffer), MSG_NOSIGNAL)) > 0) {
        }
        if (wait_events(fd, POLLOUT, 300) == 0)
            break;
    }
    tell("no reader", count);
    tell_mask("no reader: events", wait_events(fd, POLLIN | POLLOUT | POLLRDHUP, SHORT_MS));
    close(fd);
}

static void *many(void *argument)
{
    long *wrong = argument;
    for (int i = 0; i < 50; i++) {
        int fd = connected_to("ECHO");
        if (!echoes(fd, "from a thread"))
            (*wrong)++;
        close(fd);
    }
    return NULL;
}

int main(void)
{
    pthread_t threads[8];
    long wrong[8] = {0}, sum = 0;
    both_ways();
    byte_by_byte();
    no_reader();
    for (int i = 0; i < 8; i++)
        pthread_create(&threads[i], NULL, many, &wrong[i]);
    for (int i = 0; i < 8; i++) {
        pthread_join(threads[i], NULL);
        sum += wrong[i];
    }
    tell("wrong among 400 of 8 threads", sum);
    return 0;
}
