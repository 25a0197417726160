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

/*
 * A Unix socket whose program has read an urgent byte out of band, and not yet what lies before the next one,
 * says that it is at the mark. The engine has written the bytes and knows.
 */
static int read_mark(int fd, int *answer)
{
    struct kwik_question question;
    if (kwik_real.ioctl(fd, SIOCATMARK, answer) != 0)
        return -1;
    if (*answer == 0 || !kwik_is_ours(fd))
        return 0;
    kwik_question_init(&question, KWIK_STATUS, fd);
    question.request.flags = KWIK_MARK;
    if (kwik_ask(fd, &question) == 0
        && (question.reply.state == KWIK_CONNECTED || question.reply.state == KWIK_NEWS))
        *answer = question.reply.queued != 0;
    return 0;
}

int kwik_ioctl(int fd, unsigned long request, void *argument)
{
    if ((request == SIOCOUTQ || request == SIOCOUTQNSD) && kwik_is_ours(fd))
        return read_queued(fd, argument);
    if (request == SIOCATMARK)
        return read_mark(fd, argument);
    return kwik_real.ioctl(fd, request, argument);
}

KWIK_EXPORT int ioctl(int fd, unsigned long request, ...)
{
    va_list list;
    va_start(list, request);
    void *argument = va_arg(list, void *);
    va_end(list);
    return kwik_ioctl(fd, request, argument);
}
