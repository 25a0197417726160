#include "../kwik.h"

#include <linux/sockios.h>
#include <stdarg.h>
#include <sys/ioctl.h>

/* A's own count is in pages of kernel memory and never falls to zero: the last byte stays in the queue. */
static int read_queued(int fd, int *count)
{
    struct kwik_question question;
    kwik_question_init(&question, KWIK_STATUS, fd);
    int value = kwik_ask(fd, &question) == 0 ? (int)question.reply.queued : 0;
    if (kwik_real.ioctl(fd, SIOCOUTQ, count) != 0)
        return -1;
    *count = value;
    return 0;
}

KWIK_EXPORT int ioctl(int fd, unsigned long request, ...)
{
    va_list list;
    va_start(list, request);
    void *argument = va_arg(list, void *);
    va_end(list);
    if ((request == SIOCOUTQ || request == SIOCOUTQNSD) && kwik_is_ours(fd))
        return read_queued(fd, argument);
    return kwik_real.ioctl(fd, request, argument);
}
