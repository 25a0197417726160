#include "../kwik.h"

/* What the kernel reads from A itself on the data path, or knows as well there. */
static bool is_local(int name)
{
    switch (name) {
    case SO_TYPE:
    case SO_ACCEPTCONN:
    case SO_RCVLOWAT:
    case SO_RCVTIMEO_OLD:
    case SO_SNDTIMEO_OLD:
    case SO_RCVTIMEO_NEW:
    case SO_SNDTIMEO_NEW:
        return true;
    default:
        return false;
    }
}

/* A failed connect shows ECONNRESET on A; the engine knows the errno that TCP would show. Told once. */
static int read_error(int fd, void *value, socklen_t *length)
{
    struct kwik_question question;
    int error = 0;
    socklen_t room = sizeof(error);
    if (kwik_real.getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &room) == 0 && error != 0
        && kwik_standing(fd) == KWIK_IS_FAILED) {
        kwik_question_init(&question, KWIK_STATUS, fd);
        question.request.flags = KWIK_TAKE_ERROR;
        if (kwik_ask(fd, &question) == 0 && question.reply.state == KWIK_FAILED)
            error = question.reply.error;
    }
    /* The error is cleared: this call only checks the pointers. */
    if (kwik_real.getsockopt(fd, SOL_SOCKET, SO_ERROR, value, length) != 0)
        return -1;
    memcpy(value, &error, *length < sizeof(error) ? *length : sizeof(error));
    return 0;
}

/* The engine reads the option from the program's TCP socket; the kernel copies it to the program's memory. */
static int read_shadow(int fd, int level, int name, void *value, socklen_t *length)
{
    struct kwik_question question;
    socklen_t room = *length;
    if ((int)room < 0) {
        errno = EINVAL;
        return -1;
    }
    kwik_question_init(&question, KWIK_GETOPT, fd);
    question.request.level = level;
    question.request.name = name;
    question.request.length = room < KWIK_VALUE_MAX ? room : KWIK_VALUE_MAX;
    question.room = value;
    question.room_length = question.request.length;
    int result = kwik_ask(fd, &question);
    if (result == -EFAULT) {
        errno = EFAULT;
        return -1;
    }
    if (result != 0 || question.reply.state != KWIK_DONE)
        return kwik_real.getsockopt(fd, level, name, value, length);
    if (question.reply.error != 0) {
        errno = question.reply.error;
        return -1;
    }
    *length = question.reply.length;
    return 0;
}

/* SO_PEERNAME is getpeername by another name. */
static int read_peer(int fd, void *value, socklen_t *length)
{
    struct sockaddr_storage peer;
    int result = kwik_real.getsockopt(fd, SOL_SOCKET, SO_PEERNAME, value, length);
    if (result == 0 && kwik_client_of(fd, &peer))
        memcpy(value, &peer, *length);
    return result;
}

KWIK_EXPORT int getsockopt(int fd, int level, int name, void *restrict value, socklen_t *restrict length)
{
    if (level == SOL_SOCKET) {
        if (is_local(name) || !kwik_is_ours(fd) || !kwik_readable(length, sizeof(*length)))
            return name == SO_PEERNAME ? read_peer(fd, value, length)
                                       : kwik_real.getsockopt(fd, level, name, value, length);
        if (name == SO_ERROR)
            return read_error(fd, value, length);
        return read_shadow(fd, level, name, value, length);
    }
    int before = errno;
    int result = kwik_real.getsockopt(fd, level, name, value, length);
    /* AF_UNIX has no other level. */
    if (result == 0 || errno != EOPNOTSUPP || !kwik_is_ours(fd) || !kwik_readable(length, sizeof(*length)))
        return result;
    errno = before;
    return read_shadow(fd, level, name, value, length);
}
