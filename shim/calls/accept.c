#include "../kwik.h"

/* As accept4. */
KWIK_EXPORT int accept(int fd, struct sockaddr *restrict address, socklen_t *restrict length)
{
    bool told = address != NULL && kwik_readable(length, sizeof(*length));
    socklen_t room = told ? *length : 0;
    int accepted = kwik_real.accept(fd, address, length);
    if (accepted >= 0 && told)
        kwik_show_client(accepted, address, length, room);
    return accepted;
}
