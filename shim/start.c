#include "kwik.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

struct kwik_setup kwik_setup;

/* Pages are of 2^12 bytes or more. */
#define KWIK_LEAST_PAGE 12

/* Before our constructor has run (another library's may come first) the calls must work already. */
static int early_connect(int fd, const struct sockaddr *address, socklen_t length)
{
    return (int)syscall(SYS_connect, fd, address, length);
}

static int early_accept4(int fd, struct sockaddr *address, socklen_t *length, int flags)
{
    return (int)syscall(SYS_accept4, fd, address, length, flags);
}

static int early_accept(int fd, struct sockaddr *address, socklen_t *length)
{
    return early_accept4(fd, address, length, 0);
}

static int early_getsockname(int fd, struct sockaddr *address, socklen_t *length)
{
    return (int)syscall(SYS_getsockname, fd, address, length);
}

static int early_getpeername(int fd, struct sockaddr *address, socklen_t *length)
{
    return (int)syscall(SYS_getpeername, fd, address, length);
}

static int early_getsockopt(int fd, int level, int name, void *value, socklen_t *length)
{
    return (int)syscall(SYS_getsockopt, fd, level, name, value, length);
}

static int early_setsockopt(int fd, int level, int name, const void *value, socklen_t length)
{
    return (int)syscall(SYS_setsockopt, fd, level, name, value, length);
}

static int early_epoll_ctl(int epfd, int operation, int fd, struct epoll_event *event)
{
    return (int)syscall(SYS_epoll_ctl, epfd, operation, fd, event);
}

static int early_shutdown(int fd, int how)
{
    return (int)syscall(SYS_shutdown, fd, how);
}

static int early_ioctl(int fd, unsigned long request, ...)
{
    __builtin_va_list list;
    __builtin_va_start(list, request);
    void *argument = __builtin_va_arg(list, void *);
    __builtin_va_end(list);
    return (int)syscall(SYS_ioctl, fd, request, argument);
}

static ssize_t early_sendto(int fd, const void *bytes, size_t count, int flags,
                            const struct sockaddr *address, socklen_t length)
{
    return syscall(SYS_sendto, fd, bytes, count, flags, address, length);
}

static ssize_t early_send(int fd, const void *bytes, size_t count, int flags)
{
    return early_sendto(fd, bytes, count, flags, NULL, 0);
}

static ssize_t early_sendmsg(int fd, const struct msghdr *message, int flags)
{
    return syscall(SYS_sendmsg, fd, message, flags);
}

static int early_sendmmsg(int fd, struct mmsghdr *messages, unsigned int count, int flags)
{
    return (int)syscall(SYS_sendmmsg, fd, messages, count, flags);
}

struct kwik_real kwik_real = {
    .connect = early_connect,
    .accept = early_accept,
    .accept4 = early_accept4,
    .getsockname = early_getsockname,
    .getpeername = early_getpeername,
    .getsockopt = early_getsockopt,
    .setsockopt = early_setsockopt,
    .epoll_ctl = early_epoll_ctl,
    .shutdown = early_shutdown,
    .ioctl = early_ioctl,
    .send = early_send,
    .sendto = early_sendto,
    .sendmsg = early_sendmsg,
    .sendmmsg = early_sendmmsg,
};

#define RESOLVE(call)                                                 \
    do {                                                              \
        void *symbol = dlsym(RTLD_NEXT, #call);                       \
        if (symbol != NULL)                                           \
            memcpy(&kwik_real.call, &symbol, sizeof(symbol));         \
    } while (0)

/* The runtime directory's rule; Sources/KwikLinux has the same. False: there is none that we may use. */
static bool find_directory(char *path, size_t size, uid_t uid)
{
    struct stat status;
    const char *override = secure_getenv("KWIK_RUNTIME_DIR");
    const char *runtime = secure_getenv("XDG_RUNTIME_DIR");
    int length;

    if (override != NULL && override[0] == '/') {
        length = snprintf(path, size, "%s", override);
    } else if (runtime != NULL && runtime[0] == '/') {
        length = snprintf(path, size, "%s/kwik", runtime);
    } else {
        length = snprintf(path, size, "/run/user/%u", (unsigned)uid);
        if (lstat(path, &status) == 0 && S_ISDIR(status.st_mode) && status.st_uid == uid)
            length = snprintf(path, size, "/run/user/%u/kwik", (unsigned)uid);
        else
            length = snprintf(path, size, "/tmp/kwik-%u", (unsigned)uid);
    }
    return length > 0 && (size_t)length < size;
}

/* Milliseconds: what KWIK_DECISION_MS says, where that is a number within its range. */
static int find_decision(void)
{
    const char *given = secure_getenv("KWIK_DECISION_MS");
    char *end;
    if (given == NULL || given[0] < '0' || given[0] > '9')
        return KWIK_DECISION_MS;
    long limit = strtol(given, &end, 10);
    return *end == 0 && limit > 0 && limit <= KWIK_DECISION_MOST_MS ? (int)limit : KWIK_DECISION_MS;
}

/* A gateway is the machine's and not the user's: the one that KWIK_GATEWAY_DIR names, else the system's. */
static bool find_gateway(struct kwik_setup *setup)
{
    const char *given = secure_getenv("KWIK_GATEWAY_DIR");
    const char *path = given != NULL && given[0] == '/' ? given : "/run/kwik-gateway";
    int directory = snprintf(setup->gateway, sizeof(setup->gateway), "%s", path);
    int clients = snprintf(setup->clients, sizeof(setup->clients), "%s/clients", path);
    return directory > 0 && (size_t)directory < sizeof(setup->gateway) && clients > 0
           && (size_t)clients < sizeof(setup->clients);
}

__attribute__((constructor)) static void start(void)
{
    int error = errno;
    RESOLVE(connect);
    RESOLVE(accept);
    RESOLVE(accept4);
    RESOLVE(getsockname);
    RESOLVE(getpeername);
    RESOLVE(getsockopt);
    RESOLVE(setsockopt);
    RESOLVE(epoll_ctl);
    RESOLVE(shutdown);
    RESOLVE(ioctl);
    RESOLVE(send);
    RESOLVE(sendto);
    RESOLVE(sendmsg);
    RESOLVE(sendmmsg);

    struct kwik_setup *setup = &kwik_setup;
    setup->uid = geteuid();
    if (getauxval(AT_SECURE) == 0 && find_directory(setup->directory, sizeof(setup->directory), setup->uid)) {
        char *path = setup->engine.sun_path;
        setup->engine.sun_family = AF_UNIX;
        int engine = snprintf(path, sizeof(setup->engine.sun_path), "%s/engine.sock", setup->directory);
        int served = snprintf(setup->served, sizeof(setup->served), "%s/served", setup->directory);
        setup->active = engine > 0 && (size_t)engine < sizeof(setup->engine.sun_path) && served > 0
                        && (size_t)served < sizeof(setup->served);
    }
    setup->decision = find_decision();
    setup->serves = getauxval(AT_SECURE) == 0 && find_gateway(setup);
    errno = error;
}

/* rt_sigprocmask reads the set before it refuses an unknown `how`: it tells EFAULT or not, with no effect
   and without a wait. An aligned set lies in one page. */
static bool set_readable(uintptr_t address)
{
    const uint64_t size = sizeof(uint64_t);
    return syscall(SYS_rt_sigprocmask, -1, address & ~(size - 1), NULL, size) == 0 || errno != EFAULT;
}

bool kwik_readable(const void *start, size_t length)
{
    int error = errno;
    uintptr_t first = (uintptr_t)start, last = first + length - 1;
    /* No caller asks for more than a page: the two ends decide. */
    bool one_page = first >> KWIK_LEAST_PAGE == last >> KWIK_LEAST_PAGE;
    bool readable = length == 0 || (set_readable(first) && (one_page || set_readable(last)));
    errno = error;
    return readable;
}

void kwik_calm_begin(struct kwik_calm *calm)
{
    static const uint64_t all = ~(uint64_t)0;
    calm->error = errno;
    calm->mask = 0;
    (void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &calm->mask, sizeof(all));
}

void kwik_calm_end(const struct kwik_calm *calm)
{
    (void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, &calm->mask, NULL, sizeof(calm->mask));
    errno = calm->error;
}
