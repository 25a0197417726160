#include "../kwik.h"

KWIK_EXPORT ssize_t sendto(int fd, const void *bytes, size_t count, int flags, const struct sockaddr *address,
                           socklen_t length)
{
    if (address != NULL && (flags & MSG_FASTOPEN) != 0) {
        switch (kwik_fastopen(fd, address, length)) {
        case KWIK_FASTOPEN_FAILED:
            return -1;
        case KWIK_FASTOPEN_SEND:
            return kwik_real.sendto(fd, bytes, count, flags & ~MSG_FASTOPEN, NULL, 0);
        case KWIK_FASTOPEN_NATIVE:
            break;
        }
    }
    int before = errno;
    ssize_t sent = kwik_real.sendto(fd, bytes, count, flags, address, length);
    if (sent >= 0 || address == NULL || !kwik_ignores_address(fd))
        return sent;
    errno = before;
    return kwik_real.sendto(fd, bytes, count, flags, NULL, 0);
}
