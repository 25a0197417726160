#include "kwik.h"

#include <fcntl.h>
#include <sys/syscall.h>

static void copy_option(int from, int to, int name)
{
    char value[64];
    socklen_t length = sizeof(value);
    if (kwik_real.getsockopt(from, SOL_SOCKET, name, value, &length) == 0)
        (void)kwik_real.setsockopt(to, SOL_SOCKET, name, value, length);
}

/* What belongs to the file rather than to the number, and counts where the program's calls arrive. */
static void copy_settings(int from, int to)
{
    static const int kept = O_NONBLOCK | O_ASYNC;
    int flags = fcntl(from, F_GETFL);
    if (flags < 0)
        return;
    if ((flags & O_ASYNC) != 0) {
        struct f_owner_ex owner;
        int signal_number = fcntl(from, F_GETSIG);
        if (fcntl(from, F_GETOWN_EX, &owner) == 0)
            (void)fcntl(to, F_SETOWN_EX, &owner);
        if (signal_number > 0)
            (void)fcntl(to, F_SETSIG, signal_number);
    }
    int present = fcntl(to, F_GETFL);
    if (present >= 0 && (present & kept) != (flags & kept))
        (void)fcntl(to, F_SETFL, (present & ~kept) | (flags & kept));
    copy_option(from, to, SO_RCVTIMEO);
    copy_option(from, to, SO_SNDTIMEO);
    copy_option(from, to, SO_RCVLOWAT);
}

int kwik_swap(int fd, int replacement)
{
    struct kwik_registration found[KWIK_REGISTRATIONS_MAX];
    int descriptor_flags = fcntl(fd, F_GETFD);
    if (descriptor_flags < 0) {
        int error = errno;
        kwik_close(replacement);
        return -error;
    }
    copy_settings(fd, replacement);

    /* Closing the old file would not end its registrations: the engine holds it open. */
    int count = kwik_registrations(fd, found), kept = 0;
    for (int i = 0; i < count; i++) {
        if (syscall(SYS_epoll_ctl, found[i].epfd, EPOLL_CTL_DEL, fd, &found[i].event) == 0)
            found[kept++] = found[i];
    }
    long result;
    do {
        result = syscall(SYS_dup3, replacement, fd, (descriptor_flags & FD_CLOEXEC) != 0 ? O_CLOEXEC : 0);
    } while (result < 0 && errno == EBUSY);
    int error = result < 0 ? -errno : 0;
    for (int i = 0; i < kept; i++)
        (void)syscall(SYS_epoll_ctl, found[i].epfd, EPOLL_CTL_ADD, fd, &found[i].event);
    kwik_close(replacement);
    return error;
}

int kwik_undo(int fd, int family)
{
    struct kwik_question question;
    int error = ECONNRESET, original = -1;
    kwik_question_init(&question, KWIK_UNDO, fd);
    int control = kwik_dial();
    if (control >= 0) {
        if (kwik_exchange(control, &question) == 0) {
            original = question.received;
            if (question.reply.state != KWIK_UNKNOWN)
                error = question.reply.error;
        }
        kwik_close(control);
    }
    if (original < 0)
        original = (int)syscall(SYS_socket, family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (original >= 0)
        (void)kwik_swap(fd, original);
    return error;
}
