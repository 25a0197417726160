#include "../kwik.h"

/*
 * MSG_FASTOPEN is connect and send in one; without a cookie TCP does the same as we do here: the connect
 * alone where it may not block, the data after it where it may (tcp_sendmsg_fastopen).
 */
enum kwik_fastopen kwik_fastopen(int fd, const struct sockaddr *address, socklen_t length)
{
    bool native;
    if (kwik_is_ours(fd))
        return KWIK_FASTOPEN_SEND;
    int result = kwik_connect(fd, address, length, &native);
    if (native)
        return KWIK_FASTOPEN_NATIVE;
    if (result == 0)
        return KWIK_FASTOPEN_SEND;
    errno = -result;
    return KWIK_FASTOPEN_FAILED;
}

/* AF_UNIX says EISCONN, or EOPNOTSUPP once it is over, where connected TCP ignores the address. */
bool kwik_ignores_address(int fd)
{
    int error = errno;
    return (error == EISCONN || error == EOPNOTSUPP) && kwik_is_ours(fd);
}
