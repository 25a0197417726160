#include "../check.h"
#include <pthread.h>
#include <setjmp.h>

static sigjmp_buf out;
static volatile int alarms;

static void jump(int number)
{
    (void)number;
    siglongjmp(out, 1);
}

static void second_interrupts(int number)
{
    (void)number;
    if (++alarms == 2)
        on_signal(SIGALRM, ignore_signal, 0);
}

static void *wait_in_connect(void *argument)
{
    (void)connect_to(*(int *)argument, "PENDING");
    return NULL;
}

static void interrupted(void)
{
    int fd = tcp(0);
    on_signal(SIGALRM, ignore_signal, 0);
    alarm_in(100, 0);
    tell("EINTR", connect_to(fd, "PENDING"));
    fcntl(fd, F_SETFL, O_NONBLOCK);
    tell("connect after it", connect_to(fd, "PENDING"));
    close(fd);

    fd = tcp(0);
    on_signal(SIGALRM, second_interrupts, SA_RESTART);
    alarm_in(50, 50);
    tell("SA_RESTART until it is off", connect_to(fd, "PENDING"));
    alarm_in(0, 0);
    tell_bool("more than two alarms", alarms >= 2);
    close(fd);

    fd = tcp(0);
    struct timeval limit = {.tv_usec = 100000};
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    tell("SO_SNDTIMEO", connect_to(fd, "PENDING"));
    tell("connect after the time-out", connect_to(fd, "PENDING"));
    close(fd);
}

static void jumped(void)
{
    int fd = tcp(0), before = open_descriptors();
    on_signal(SIGALRM, jump, 0);
    if (sigsetjmp(out, 1) == 0) {
        alarm_in(100, 0);
        tell("not jumped", connect_to(fd, "PENDING"));
    }
    tell("descriptors after siglongjmp", open_descriptors() - before);
    close(fd);
    sigset_t mask;
    sigprocmask(SIG_SETMASK, NULL, &mask);
    tell_bool("signals free", !sigismember(&mask, SIGALRM) && !sigismember(&mask, SIGTERM));
}

static void cancelled(void)
{
    pthread_t thread;
    void *result = NULL;
    int fd = tcp(0), before = open_descriptors();
    pthread_create(&thread, NULL, wait_in_connect, &fd);
    usleep(100000);
    pthread_cancel(thread);
    pthread_join(thread, &result);
    tell_bool("cancelled", result == PTHREAD_CANCELED);
    tell("descriptors after it", open_descriptors() - before);
    close(fd);
}

static volatile int signalled;

static void count_signal(int number)
{
    (void)number;
    signalled = 1;
}

static void asynchronous(void)
{
    int fd = tcp(SOCK_NONBLOCK);
    on_signal(SIGIO, count_signal, SA_RESTART);
    fcntl(fd, F_SETOWN, getpid());
    fcntl(fd, F_SETFL, O_NONBLOCK | O_ASYNC);
    tell("SIGIO: connect", connect_to(fd, "ECHO"));
    (void)wait_events(fd, POLLOUT, LONG_MS);
    signalled = 0;
    (void)!write(fd, "x", 1);
    for (int i = 0; i < 100 && !signalled; i++)
        usleep(10000);
    tell_bool("SIGIO", signalled);
    tell_bool("O_ASYNC", (fcntl(fd, F_GETFL) & O_ASYNC) != 0);
    close(fd);
}

int main(void)
{
    interrupted();
    jumped();
    cancelled();
    asynchronous();
    return 0;
}
