#include "../kwik.h"

/* Sets the option on the program's TCP socket, by the engine, which holds it. */
static int write_shadow(int fd, int level, int name, const void *value, socklen_t length)
{
    struct kwik_question question;
    if (length > KWIK_VALUE_MAX) {
        errno = EINVAL;
        return -1;
    }
    if (length > 0 && value == NULL) {
        errno = EFAULT;
        return -1;
    }
    kwik_question_init(&question, KWIK_SETOPT, fd);
    question.request.level = level;
    question.request.name = name;
    question.request.length = length;
    question.value = value;
    int result = kwik_ask(fd, &question);
    int error = result == -EFAULT ? EFAULT : result == 0 ? question.reply.error : 0;
    /* An engine that is gone or was restarted: the option has nothing left to act on. */
    if (error == 0)
        return 0;
    errno = error;
    return -1;
}

KWIK_EXPORT int setsockopt(int fd, int level, int name, const void *value, socklen_t length)
{
    if (level == SOL_SOCKET) {
        switch (name) {
        case SO_RCVLOWAT:
        case SO_RCVTIMEO_OLD:
        case SO_SNDTIMEO_OLD:
        case SO_RCVTIMEO_NEW:
        case SO_SNDTIMEO_NEW:
            return kwik_real.setsockopt(fd, level, name, value, length);
        default:
            break;
        }
        if (!kwik_is_ours(fd))
            return kwik_real.setsockopt(fd, level, name, value, length);
        /* The TCP socket would say yes, and no completion or time stamp would ever come. */
        if (name == SO_ZEROCOPY || name == SO_TIMESTAMPING_OLD || name == SO_TIMESTAMPING_NEW) {
            errno = EOPNOTSUPP;
            return -1;
        }
        if (write_shadow(fd, level, name, value, length) != 0)
            return -1;
        /* Whether urgent data is read in line is a matter of the descriptor that is read. */
        return name == SO_OOBINLINE ? kwik_real.setsockopt(fd, level, name, value, length) : 0;
    }
    int before = errno;
    int result = kwik_real.setsockopt(fd, level, name, value, length);
    /* AF_UNIX has no other level. */
    if (result == 0 || errno != EOPNOTSUPP || !kwik_is_ours(fd))
        return result;
    errno = before;
    return write_shadow(fd, level, name, value, length);
}
