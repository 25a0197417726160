#include "../kwik.h"

KWIK_EXPORT int epoll_ctl(int epfd, int operation, int fd, struct epoll_event *event)
{
    int result = kwik_real.epoll_ctl(epfd, operation, fd, event);
    if (result == 0)
        kwik_note_registration(epfd, operation, fd, event);
    return result;
}
