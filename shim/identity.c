#include "kwik.h"

#include <netinet/in.h>
#include <sys/syscall.h>
#include <time.h>

/* Characters of n packed bytes. */
#define PACKED(n) (((n) * 8 + 5) / 6)
#define V4_BYTES 7
#define V6_BYTES 23

static bool unpack(const char *text, size_t characters, uint8_t *bytes, size_t count)
{
    if (characters != PACKED(count))
        return false;
    uint32_t held = 0;
    unsigned bits = 0;
    size_t filled = 0;
    for (size_t i = 0; i < characters; i++) {
        unsigned value = (unsigned char)text[i] - 0x30u;
        if (value > 63)
            return false;
        held = held << 6 | value;
        bits += 6;
        if (bits >= 8 && filled < count) {
            bits -= 8;
            bytes[filled++] = (uint8_t)(held >> bits);
        }
    }
    return filled == count;
}

static bool unpack_address(const char *text, size_t characters, struct sockaddr_storage *address,
                           socklen_t *length)
{
    uint8_t bytes[V6_BYTES];
    memset(address, 0, sizeof(*address));
    if (unpack(text, characters, bytes, V4_BYTES) && bytes[0] == 4) {
        struct sockaddr_in *v4 = (struct sockaddr_in *)address;
        v4->sin_family = AF_INET;
        memcpy(&v4->sin_port, bytes + 1, 2);
        memcpy(&v4->sin_addr, bytes + 3, 4);
        *length = sizeof(*v4);
        return true;
    }
    if (unpack(text, characters, bytes, V6_BYTES) && bytes[0] == 6) {
        struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)address;
        v6->sin6_family = AF_INET6;
        memcpy(&v6->sin6_port, bytes + 1, 2);
        memcpy(&v6->sin6_addr, bytes + 3, 16);
        memcpy(&v6->sin6_scope_id, bytes + 19, 4);
        *length = sizeof(*v6);
        return true;
    }
    return false;
}

/* prefix id | peer | local, after the name's NUL */
static bool parse(const char *name, size_t length, struct kwik_identity *identity)
{
    static const size_t prefix = sizeof(KWIK_NAME_PREFIX) - 1;
    uint8_t id[KWIK_ID_BYTES];
    size_t id_end = prefix + PACKED(KWIK_ID_BYTES);
    if (length <= id_end || memcmp(name, KWIK_NAME_PREFIX, prefix) != 0 || name[id_end] != '|'
        || !unpack(name + prefix, PACKED(KWIK_ID_BYTES), id, sizeof(id)))
        return false;
    const char *peer = name + id_end + 1, *end = name + length;
    const char *bar = memchr(peer, '|', (size_t)(end - peer));
    if (bar == NULL)
        return false;
    socklen_t other;
    return unpack_address(peer, (size_t)(bar - peer), &identity->peer, &identity->length)
           && unpack_address(bar + 1, (size_t)(end - bar - 1), &identity->local, &other)
           && other == identity->length;
}

/* The own name must match, the peer be unnamed and of our engine's user: a name alone anybody can bind. */
bool kwik_identify(int fd, struct kwik_identity *identity)
{
    struct sockaddr_un name, peer;
    struct ucred owner;
    socklen_t length = sizeof(name), peer_length = sizeof(peer), owner_length = sizeof(owner);
    int error = errno;
    bool ours = kwik_setup.active && kwik_real.getsockname(fd, (struct sockaddr *)&name, &length) == 0
                && name.sun_family == AF_UNIX && length > offsetof(struct sockaddr_un, sun_path) + 1
                && length <= sizeof(name) && name.sun_path[0] == '\0'
                && parse(name.sun_path + 1, length - offsetof(struct sockaddr_un, sun_path) - 1, identity)
                && kwik_real.getpeername(fd, (struct sockaddr *)&peer, &peer_length) == 0
                && peer_length == offsetof(struct sockaddr_un, sun_path)
                && kwik_real.getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &owner, &owner_length) == 0
                && (owner.uid == kwik_setup.uid || owner.uid == 0);
    errno = error;
    return ours;
}

bool kwik_is_ours(int fd)
{
    struct kwik_identity identity;
    return kwik_identify(fd, &identity);
}

static bool is_hung_up(int fd)
{
    static const struct timespec none = {0, 0};
    struct pollfd entry = {.fd = fd};
    int error = errno;
    /* Raw: poll is a cancellation point, and what calls us is none. */
    bool hung = syscall(SYS_ppoll, &entry, 1, &none, NULL, 0) == 1 && (entry.revents & POLLHUP) != 0;
    errno = error;
    return hung;
}

enum kwik_standing kwik_standing(int fd)
{
    int size = 0, error = errno;
    socklen_t length = sizeof(size);
    if (kwik_real.getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, &length) != 0)
        size = 0;
    errno = error;
    if (size >= KWIK_PENDING_LIMIT)
        return KWIK_IS_CONNECTED;
    return is_hung_up(fd) ? KWIK_IS_FAILED : KWIK_IS_PENDING;
}

/* The program's own SHUT_RDWR hangs up as well, and TCP knows its peer still: only the engine can tell. */
bool kwik_is_over(int fd)
{
    struct kwik_question question;
    if (!is_hung_up(fd))
        return false;
    kwik_question_init(&question, KWIK_STATUS, fd);
    if (kwik_ask(fd, &question) != 0)
        return true;
    return question.reply.state != KWIK_CONNECTED && question.reply.state != KWIK_NEWS;
}

void kwik_copy_address(const struct sockaddr_storage *from, socklen_t size, struct sockaddr *to,
                       socklen_t *length, socklen_t room)
{
    memcpy(to, from, room < size ? room : size);
    *length = size;
}
