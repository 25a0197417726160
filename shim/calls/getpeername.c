#include "../kwik.h"

/* The kernel's in all but the address that it writes: of the gateway's connections that is their client's. */
static int peer_of_others(int fd, struct sockaddr *address, socklen_t *length)
{
    bool told = kwik_readable(length, sizeof(*length));
    socklen_t room = told ? *length : 0;
    int result = kwik_real.getpeername(fd, address, length);
    if (result == 0 && told)
        kwik_show_client(fd, address, length, room);
    return result;
}

KWIK_EXPORT int getpeername(int fd, struct sockaddr *restrict address, socklen_t *restrict length)
{
    struct kwik_identity identity;
    if (!kwik_identify(fd, &identity) || !kwik_readable(length, sizeof(*length)))
        return peer_of_others(fd, address, length);
    if (kwik_standing(fd) != KWIK_IS_CONNECTED || kwik_is_over(fd)) {
        errno = ENOTCONN;
        return -1;
    }
    /* Our peer is unnamed: the kernel's name of the own end is the longer check of the pointers. */
    socklen_t room = *length;
    if (kwik_real.getsockname(fd, address, length) != 0)
        return -1;
    kwik_copy_address(&identity.peer, identity.length, address, length, room);
    return 0;
}
