#include "../kwik.h"

/* TCP's rule (inet_shutdown): in SYN_SENT it disconnects, in CLOSE it says ENOTCONN. */
KWIK_EXPORT int shutdown(int fd, int how)
{
    struct kwik_identity identity;
    struct kwik_calm calm;
    if (how < SHUT_RD || how > SHUT_RDWR || !kwik_identify(fd, &identity))
        return kwik_real.shutdown(fd, how);
    switch (kwik_standing(fd)) {
    case KWIK_IS_PENDING:
        kwik_calm_begin(&calm);
        (void)kwik_undo(fd, identity.peer.ss_family);
        kwik_calm_end(&calm);
        return 0;
    case KWIK_IS_FAILED:
        errno = ENOTCONN;
        return -1;
    case KWIK_IS_CONNECTED:
        break;
    }
    if (kwik_is_over(fd)) {
        errno = ENOTCONN;
        return -1;
    }
    return kwik_real.shutdown(fd, how);
}
