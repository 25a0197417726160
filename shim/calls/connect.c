#include "../kwik.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/syscall.h>

static int option(int fd, int name)
{
    int value = -1;
    socklen_t length = sizeof(value);
    return kwik_real.getsockopt(fd, SOL_SOCKET, name, &value, &length) == 0 ? value : -1;
}

static bool read_destination(int family, const struct sockaddr *address, socklen_t length,
                             struct kwik_address *to)
{
    memset(to, 0, sizeof(*to));
    if (length < sizeof(sa_family_t) || length > sizeof(struct sockaddr_storage)
        || !kwik_readable(address, length))
        return false;
    to->family = address->sa_family;
    if (to->family != family)
        return false;
    if (family == AF_INET && length >= sizeof(struct sockaddr_in)) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
        to->port = v4->sin_port;
        memcpy(to->address, &v4->sin_addr, 4);
        return true;
    }
    if (family == AF_INET6 && length >= sizeof(struct sockaddr_in6)) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;
        to->port = v6->sin6_port;
        to->scope = v6->sin6_scope_id;
        memcpy(to->address, &v6->sin6_addr, 16);
        return true;
    }
    return false;
}

static void tell_swapped(int control)
{
    struct kwik_request swapped = {.magic = KWIK_MAGIC, .kind = KWIK_SWAPPED};
    (void)syscall(SYS_sendto, control, &swapped, sizeof(swapped), MSG_NOSIGNAL | MSG_DONTWAIT, NULL, 0);
}

/* Offers the connect to the engine and puts its descriptor in place. False: native, nothing was touched. */
static bool offer(int fd, const struct kwik_address *destination, bool blocking, int *error)
{
    struct kwik_question question;
    bool taken = false;
    *error = 0;
    int control = kwik_dial();
    if (control < 0)
        return false;
    kwik_question_init(&question, KWIK_CONNECT, fd);
    question.request.flags = blocking ? KWIK_BLOCKING : 0;
    question.request.destination = *destination;
    question.patience = kwik_setup.decision;
    if (kwik_exchange(control, &question) == 0) {
        if (question.reply.state == KWIK_TAKEN && question.received >= 0) {
            int failure = kwik_swap(fd, question.received);
            question.received = -1;
            if (failure == 0) {
                tell_swapped(control);
                taken = true;
            }
        } else if (question.reply.state == KWIK_BUSY) {
            taken = true;
            *error = question.reply.error;
        }
        if (question.received >= 0)
            kwik_close(question.received);
    }
    kwik_close(control);
    return taken;
}

static void tell_left(int fd)
{
    struct kwik_question question;
    kwik_question_init(&question, KWIK_STATUS, fd);
    question.request.flags = KWIK_LEFT;
    (void)kwik_ask(fd, &question);
}

static int undo(int fd, int family)
{
    struct kwik_calm calm;
    kwik_calm_begin(&calm);
    int error = kwik_undo(fd, family);
    kwik_calm_end(&calm);
    return error;
}

/*
 * Waits for a pending connect as TCP does. The kernel's own wait for send space honours SA_RESTART,
 * SO_SNDTIMEO and cancellation just as its wait in connect; a send from an unmapped page, once there is
 * space, fails with EFAULT before it has any effect.
 */
static int wait_for(int fd, int family)
{
    int before = errno;
    const void *unmapped = NULL;
    ssize_t sent = kwik_real.send(fd, unmapped, 1, MSG_NOSIGNAL);
    int error = sent < 0 ? errno : EFAULT;
    errno = before;
    switch (error) {
    case EFAULT:
        return 0;
    case EINTR:
        tell_left(fd);
        return -EINTR;
    case EAGAIN:
        tell_left(fd);
        return -EINPROGRESS;
    default:
        error = undo(fd, family);
        return error != 0 ? -error : -ECONNRESET;
    }
}

/* A success is told once (inet_stream_connect, SS_CONNECTING to SS_CONNECTED), then EISCONN. */
static int tell_success(int fd)
{
    struct kwik_question question;
    kwik_question_init(&question, KWIK_STATUS, fd);
    question.request.flags = KWIK_CONSUME;
    return kwik_ask(fd, &question) == 0 && question.reply.state == KWIK_NEWS ? 0 : -EISCONN;
}

/* connect() on a descriptor that is ours already. */
static int connect_again(int fd, const struct sockaddr *address, socklen_t length,
                         const struct kwik_identity *identity)
{
    int family = identity->peer.ss_family;
    if (!kwik_readable(address, length))
        return -EFAULT;
    if (length < sizeof(sa_family_t))
        return -EINVAL;
    if (address->sa_family == AF_UNSPEC) {
        (void)undo(fd, family);
        return 0;
    }
    switch (kwik_standing(fd)) {
    case KWIK_IS_CONNECTED:
        return tell_success(fd);
    case KWIK_IS_FAILED: {
        int error = undo(fd, family);
        return error != 0 ? -error : -ECONNABORTED;
    }
    case KWIK_IS_PENDING:
        break;
    }
    if ((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0)
        return -EALREADY;
    int result = wait_for(fd, family);
    if (result == 0)
        (void)tell_success(fd);
    return result == -EINPROGRESS ? -EALREADY : result;
}

int kwik_connect(int fd, const struct sockaddr *address, socklen_t length, bool *native)
{
    struct kwik_identity identity;
    struct kwik_address destination;
    struct kwik_calm calm;
    int before = errno, error = 0;

    *native = true;
    if (!kwik_setup.active)
        return 0;
    int family = option(fd, SO_DOMAIN);
    if (family == AF_UNIX && kwik_identify(fd, &identity)) {
        errno = before;
        *native = false;
        return connect_again(fd, address, length, &identity);
    }
    bool candidate = (family == AF_INET || family == AF_INET6)
                     && read_destination(family, address, length, &destination)
                     && !kwik_is_known_unserved(&destination) && option(fd, SO_TYPE) == SOCK_STREAM
                     && option(fd, SO_PROTOCOL) == IPPROTO_TCP;
    errno = before;
    if (!candidate)
        return 0;

    kwik_calm_begin(&calm);
    /* Read before the swap: afterwards the flags are the new file's. */
    int flags = fcntl(fd, F_GETFL);
    bool blocking = flags >= 0 && (flags & O_NONBLOCK) == 0;
    bool taken = flags >= 0 && kwik_is_served(&destination) && offer(fd, &destination, blocking, &error);
    kwik_calm_end(&calm);
    if (!taken)
        return 0;
    *native = false;
    if (error != 0)
        return -error;
    return blocking ? wait_for(fd, family) : -EINPROGRESS;
}

KWIK_EXPORT int connect(int fd, const struct sockaddr *address, socklen_t length)
{
    bool native;
    int result = kwik_connect(fd, address, length, &native);
    if (native)
        return kwik_real.connect(fd, address, length);
    if (result < 0) {
        errno = -result;
        return -1;
    }
    return 0;
}

KWIK_EXPORT int __connect(int fd, const struct sockaddr *address, socklen_t length)
    __attribute__((alias("connect")));
