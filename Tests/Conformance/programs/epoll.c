#include "../check.h"

static int add(int ep, int fd, uint32_t events, uint64_t data)
{
    struct epoll_event event = {.events = events, .data.u64 = data};
    return epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event);
}

static void tell_event(const char *name, int ep, int milliseconds)
{
    struct epoll_event event;
    int count = epoll_wait(ep, &event, 1, milliseconds);
    if (count != 1) {
        printf("%s: nothing\n", name);
        fflush(stdout);
        return;
    }
    char text[80];
    snprintf(text, sizeof(text), "%s data %llx", name, (unsigned long long)event.data.u64);
    tell_mask(text, (short)event.events);
}

static void one_registration(const char *name, uint32_t flags, const char *kind)
{
    char text[80];
    int ep = epoll_create1(0), fd = tcp(SOCK_NONBLOCK);
    add(ep, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | flags, 0xabcdef0123456789u);
    snprintf(text, sizeof(text), "%s: unconnected", name);
    tell_event(text, ep, 0);
    snprintf(text, sizeof(text), "%s: connect", name);
    tell(text, connect_to(fd, kind));
    snprintf(text, sizeof(text), "%s: event", name);
    tell_event(text, ep, LONG_MS);
    snprintf(text, sizeof(text), "%s: MOD", name);
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | flags, .data.u64 = 7};
    tell(text, epoll_ctl(ep, EPOLL_CTL_MOD, fd, &event));
    if (strcmp(kind, "ECHO") == 0) {
        (void)!write(fd, "x", 1);
        snprintf(text, sizeof(text), "%s: readable", name);
        tell_event(text, ep, LONG_MS);
        snprintf(text, sizeof(text), "%s: still", name);
        tell_event(text, ep, SHORT_MS);
    }
    snprintf(text, sizeof(text), "%s: DEL", name);
    tell(text, epoll_ctl(ep, EPOLL_CTL_DEL, fd, NULL));
    snprintf(text, sizeof(text), "%s: DEL again", name);
    tell(text, epoll_ctl(ep, EPOLL_CTL_DEL, fd, NULL));
    close(fd);
    close(ep);
}

static void pending(uint32_t flags, const char *name)
{
    int ep = epoll_create1(0), fd = tcp(SOCK_NONBLOCK);
    tell(name, connect_to(fd, "PENDING"));
    add(ep, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | flags, 1);
    tell_event(name, ep, SHORT_MS);
    close(fd);
    close(ep);
}

static void two_instances(void)
{
    int first = epoll_create1(0), second = epoll_create1(0), fd = tcp(SOCK_NONBLOCK);
    add(first, fd, EPOLLOUT | EPOLLET, 11);
    add(second, fd, EPOLLOUT, 22);
    tell("two: connect", connect_to(fd, "ECHO"));
    (void)wait_events(fd, POLLOUT, LONG_MS);
    tell_event("two: first", first, LONG_MS);
    tell_event("two: second", second, LONG_MS);
    tell("two: ADD once more", add(first, fd, EPOLLIN, 0));
    close(fd);
    close(first);
    close(second);
}

static void one_shot(void)
{
    int ep = epoll_create1(0), fd = tcp(SOCK_NONBLOCK);
    add(ep, fd, EPOLLOUT | EPOLLONESHOT, 33);
    tell_event("oneshot: unconnected", ep, 0);
    tell("oneshot: connect", connect_to(fd, "ECHO"));
    (void)wait_events(fd, POLLOUT, LONG_MS);
    tell_event("oneshot: disarmed", ep, SHORT_MS);
    struct epoll_event event = {.events = EPOLLOUT | EPOLLONESHOT, .data.u64 = 44};
    tell("oneshot: MOD", epoll_ctl(ep, EPOLL_CTL_MOD, fd, &event));
    tell_event("oneshot: armed", ep, LONG_MS);
    close(fd);
    close(ep);
}

/* A number that was registered, closed and used again. */
static void reused_number(void)
{
    int ep = epoll_create1(0), other = epoll_create1(0), fd = tcp(SOCK_NONBLOCK);
    add(ep, fd, EPOLLOUT, 55);
    close(fd);
    int again = tcp(SOCK_NONBLOCK);
    tell_bool("reused: same number", again == fd);
    add(other, again, EPOLLOUT, 66);
    tell("reused: connect", connect_to(again, "ECHO"));
    (void)wait_events(again, POLLOUT, LONG_MS);
    tell_event("reused: old instance", ep, SHORT_MS);
    tell_event("reused: new instance", other, LONG_MS);
    close(again);
    close(ep);
    close(other);
}

int main(void)
{
    one_registration("level", 0, "ECHO");
    one_registration("edge", EPOLLET, "ECHO");
    one_registration("refused level", 0, "REFUSED");
    one_registration("refused edge", EPOLLET, "REFUSED");
    pending(0, "pending level");
    pending(EPOLLET, "pending edge");
    two_instances();
    one_shot();
    reused_number();
    return 0;
}
