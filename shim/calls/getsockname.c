#include "../kwik.h"

KWIK_EXPORT int getsockname(int fd, struct sockaddr *restrict address, socklen_t *restrict length)
{
    struct kwik_identity identity;
    if (!kwik_identify(fd, &identity) || !kwik_readable(length, sizeof(*length)))
        return kwik_real.getsockname(fd, address, length);
    /* The kernel writes its own answer first: it finds bad pointers, and covers all that we write. */
    socklen_t room = *length;
    if (kwik_real.getsockname(fd, address, length) != 0)
        return -1;
    kwik_copy_address(&identity.local, identity.length, address, length, room);
    return 0;
}
