#include "../check.h"

static volatile int signals;

static void count_signal(int number)
{
    (void)number;
    signals++;
}

/* A signal that is blocked, and pending, interrupts a wait whose mask lets it in. */
static void masks(void)
{
    sigset_t blocked, open;
    struct timespec limit = {.tv_sec = 5};
    int fd = connected_to("ECHO");
    struct pollfd entry = {.fd = fd, .events = POLLIN};
    fd_set readable;
    on_signal(SIGUSR1, count_signal, SA_RESTART);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1);
    sigprocmask(SIG_BLOCK, &blocked, &open);
    raise(SIGUSR1);
    tell("ppoll: interrupted", ppoll(&entry, 1, &limit, &open));
    raise(SIGUSR1);
    FD_ZERO(&readable);
    FD_SET(fd, &readable);
    tell("pselect: interrupted", pselect(fd + 1, &readable, NULL, NULL, &limit, &open));
    tell("signals", signals);
    (void)!write(fd, "x", 1);
    tell("ppoll", ppoll(&entry, 1, &limit, &blocked));
    tell_mask("ppoll: events", entry.revents);
    FD_ZERO(&readable);
    FD_SET(fd, &readable);
    tell("pselect", pselect(fd + 1, &readable, NULL, NULL, &limit, &blocked));
    tell_bool("pselect: readable", FD_ISSET(fd, &readable));
    sigprocmask(SIG_SETMASK, &open, NULL);
    close(fd);
}

/* A blocking read is interrupted, or goes on. */
static void reading(void)
{
    char byte;
    int fd = connected_to("ECHO");
    on_signal(SIGALRM, ignore_signal, 0);
    alarm_in(100, 0);
    tell("read: interrupted", read(fd, &byte, 1));
    on_signal(SIGALRM, ignore_signal, SA_RESTART);
    pid_t child = fork();
    if (child == 0) {
        usleep(300000);
        _exit(write(fd, "y", 1) == 1 ? 0 : 1);
    }
    alarm_in(100, 0);
    tell("read: goes on", read(fd, &byte, 1));
    waitpid(child, NULL, 0);
    close(fd);
}

/* Multicast has no route for TCP, on any machine. */
static void unreachable(void)
{
    struct sockaddr_in nowhere = {.sin_family = AF_INET, .sin_port = htons(9)};
    nowhere.sin_addr.s_addr = htonl(0xe0000001);
    int fd = tcp(0);
    tell("unreachable", connect(fd, (struct sockaddr *)&nowhere, sizeof(nowhere)));
    tell("unreachable: connect elsewhere", connect_to(fd, "ECHO"));
    tell_bool("unreachable: echo", echoes(fd, "reached"));
    close(fd);
}

static void timed_out(void)
{
    int limit = 300, fd = tcp(0);
    tell("USER_TIMEOUT", setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &limit, sizeof(limit)));
    tell("timed out", connect_to(fd, "PENDING"));
    tell("timed out: connect elsewhere", connect_to(fd, "ECHO"));
    close(fd);
    fd = tcp(SOCK_NONBLOCK);
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &limit, sizeof(limit));
    tell("timed out, nonblocking", connect_to(fd, "PENDING"));
    tell_mask("timed out: events", wait_events(fd, POLLIN | POLLOUT | POLLRDHUP, LONG_MS));
    tell_socket_error("timed out: SO_ERROR", fd);
    close(fd);
}

int main(void)
{
    masks();
    reading();
    unreachable();
    timed_out();
    return 0;
}
