#include "kwik.h"

#include <sys/syscall.h>
#include <time.h>

/* Raw system calls all through: libc's are cancellation points, and the control connection must not leak. */

void kwik_close(int fd)
{
    (void)syscall(SYS_close, fd);
}

void kwik_question_init(struct kwik_question *question, enum kwik_kind kind, int attached)
{
    memset(question, 0, sizeof(*question));
    question->request.magic = KWIK_MAGIC;
    question->request.kind = (uint16_t)kind;
    question->attached = attached;
    question->received = -1;
    question->patience = KWIK_ANSWER_MS;
}

int kwik_dial(void)
{
    int control = (int)syscall(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (control < 0)
        return -errno;
    struct ucred owner;
    socklen_t length = sizeof(owner);
    if (syscall(SYS_connect, control, &kwik_setup.engine, sizeof(kwik_setup.engine)) != 0) {
        int error = errno;
        kwik_close(control);
        return -error;
    }
    /* Our own process's engine (a daemon that was itself started under us) would never answer. */
    if (kwik_real.getsockopt(control, SOL_SOCKET, SO_PEERCRED, &owner, &length) != 0
        || owner.uid != kwik_setup.uid || owner.pid == getpid()) {
        kwik_close(control);
        return -EPERM;
    }
    return control;
}

static int send_request(int control, const struct kwik_question *question)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } ancillary;
    size_t length = question->value != NULL ? question->request.length : 0;
    struct iovec parts[2] = {
        {.iov_base = (void *)&question->request, .iov_len = sizeof(question->request)},
        {.iov_base = (void *)question->value, .iov_len = length},
    };
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = length > 0 ? 2 : 1};
    if (question->attached >= 0) {
        memset(&ancillary, 0, sizeof(ancillary));
        ancillary.header.cmsg_len = CMSG_LEN(sizeof(int));
        ancillary.header.cmsg_level = SOL_SOCKET;
        ancillary.header.cmsg_type = SCM_RIGHTS;
        memcpy(CMSG_DATA(&ancillary.header), &question->attached, sizeof(int));
        message.msg_control = &ancillary;
        message.msg_controllen = sizeof(ancillary.bytes);
    }
    return syscall(SYS_sendmsg, control, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

static int receive_reply(int control, struct kwik_question *question)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } ancillary;
    struct iovec parts[2] = {
        {.iov_base = &question->reply, .iov_len = sizeof(question->reply)},
        {.iov_base = question->room, .iov_len = question->room_length},
    };
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = question->room_length > 0 ? 2 : 1,
                             .msg_control = &ancillary, .msg_controllen = sizeof(ancillary.bytes)};
    ancillary.header.cmsg_len = 0;
    long count = syscall(SYS_recvmsg, control, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (count < 0)
        return -errno;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header != NULL && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS
        && header->cmsg_len == CMSG_LEN(sizeof(int)))
        memcpy(&question->received, CMSG_DATA(header), sizeof(int));
    const struct kwik_reply *reply = &question->reply;
    if ((message.msg_flags & (MSG_CTRUNC | MSG_TRUNC)) == 0 && count >= (long)sizeof(*reply)
        && reply->magic == KWIK_MAGIC && reply->kind == question->request.kind
        && (size_t)count == sizeof(*reply) + reply->length)
        return 0;
    if (question->received >= 0)
        kwik_close(question->received);
    question->received = -1;
    return -EPROTO;
}

int kwik_exchange(int control, struct kwik_question *question)
{
    int result = send_request(control, question);
    if (result != 0)
        return result;
    struct pollfd entry = {.fd = control, .events = POLLIN};
    struct timespec patience = {question->patience / 1000, question->patience % 1000 * 1000000L};
    long ready = syscall(SYS_ppoll, &entry, 1, &patience, NULL, 0);
    if (ready <= 0)
        return ready == 0 ? -ETIMEDOUT : -errno;
    return receive_reply(control, question);
}

int kwik_ask(int fd, struct kwik_question *question)
{
    struct kwik_calm calm;
    question->attached = fd;
    kwik_calm_begin(&calm);
    int control = kwik_dial();
    int result = control;
    if (control >= 0) {
        result = kwik_exchange(control, question);
        kwik_close(control);
    }
    kwik_calm_end(&calm);
    return result;
}
