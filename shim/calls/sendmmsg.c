#include "../kwik.h"

/* One by one without their addresses, by the kernel's rule: an error counts only if nothing was sent. */
static int send_each(int fd, struct mmsghdr *messages, unsigned int count, int flags)
{
    unsigned int sent = 0;
    while (sent < count) {
        struct msghdr plain = messages[sent].msg_hdr;
        plain.msg_name = NULL;
        plain.msg_namelen = 0;
        ssize_t bytes = kwik_real.sendmsg(fd, &plain, flags);
        if (bytes < 0)
            return sent > 0 ? (int)sent : -1;
        messages[sent++].msg_len = (unsigned int)bytes;
    }
    return (int)sent;
}

KWIK_EXPORT int sendmmsg(int fd, struct mmsghdr *messages, unsigned int count, int flags)
{
    int before = errno;
    if ((flags & MSG_FASTOPEN) != 0 && count > 0 && kwik_readable(messages, sizeof(*messages))
        && messages[0].msg_hdr.msg_name != NULL) {
        switch (kwik_fastopen(fd, messages[0].msg_hdr.msg_name, messages[0].msg_hdr.msg_namelen)) {
        case KWIK_FASTOPEN_FAILED:
            return -1;
        case KWIK_FASTOPEN_SEND:
            errno = before;
            return send_each(fd, messages, count, flags & ~MSG_FASTOPEN);
        case KWIK_FASTOPEN_NATIVE:
            break;
        }
    }
    int sent = kwik_real.sendmmsg(fd, messages, count, flags);
    if (sent >= 0 || count == 0 || !kwik_ignores_address(fd))
        return sent;
    errno = before;
    return send_each(fd, messages, count, flags);
}
