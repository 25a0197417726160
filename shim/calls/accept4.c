#include "../kwik.h"

/* The kernel's in all but the address that it writes: of the gateway's connections that is their client's. */
KWIK_EXPORT int accept4(int fd, struct sockaddr *restrict address, socklen_t *restrict length, int flags)
{
    bool told = address != NULL && kwik_readable(length, sizeof(*length));
    socklen_t room = told ? *length : 0;
    int accepted = kwik_real.accept4(fd, address, length, flags);
    if (accepted >= 0 && told)
        kwik_show_client(accepted, address, length, room);
    return accepted;
}
