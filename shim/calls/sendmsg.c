#include "../kwik.h"

KWIK_EXPORT ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    struct msghdr plain;
    if ((flags & MSG_FASTOPEN) != 0 && kwik_readable(message, sizeof(*message))
        && message->msg_name != NULL) {
        plain = *message;
        plain.msg_name = NULL;
        plain.msg_namelen = 0;
        switch (kwik_fastopen(fd, message->msg_name, message->msg_namelen)) {
        case KWIK_FASTOPEN_FAILED:
            return -1;
        case KWIK_FASTOPEN_SEND:
            return kwik_real.sendmsg(fd, &plain, flags & ~MSG_FASTOPEN);
        case KWIK_FASTOPEN_NATIVE:
            break;
        }
    }
    int before = errno;
    ssize_t sent = kwik_real.sendmsg(fd, message, flags);
    /* EFAULT comes first if the header itself cannot be read. */
    if (sent >= 0 || !kwik_ignores_address(fd) || message->msg_name == NULL)
        return sent;
    plain = *message;
    plain.msg_name = NULL;
    plain.msg_namelen = 0;
    errno = before;
    return kwik_real.sendmsg(fd, &plain, flags);
}
