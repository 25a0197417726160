#define _GNU_SOURCE
#include "CLinux.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <linux/udp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef SOL_UDP
#define SOL_UDP 17
#endif
#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

enum { socket_buffer_bytes = 8 * 1024 * 1024 };

static int set_int(int fd, int level, int name, int value) {
    return setsockopt(fd, level, name, &value, sizeof value) < 0 ? -errno : 0;
}

static void ask_for_buffers(int fd) {
    // Only a privileged process may exceed the system's limit; others get what that allows.
    if (set_int(fd, SOL_SOCKET, SO_RCVBUFFORCE, socket_buffer_bytes) < 0)
        set_int(fd, SOL_SOCKET, SO_RCVBUF, socket_buffer_bytes);
    if (set_int(fd, SOL_SOCKET, SO_SNDBUFFORCE, socket_buffer_bytes) < 0)
        set_int(fd, SOL_SOCKET, SO_SNDBUF, socket_buffer_bytes);
}

int kwik_udp_open(const struct sockaddr *address, socklen_t length, const char *device) {
    int fd = socket(address->sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    ask_for_buffers(fd);
    set_int(fd, SOL_UDP, UDP_GRO, 1);
    // An IPv6 socket that is bound to the wildcard serves IPv4 too, hence the IPv4 options for both.
    set_int(fd, IPPROTO_IP, IP_RECVTOS, 1);
    set_int(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE);
    int result = 0;
    if (address->sa_family == AF_INET6) {
        set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
        set_int(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
        set_int(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE);
        result = set_int(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
    } else {
        result = set_int(fd, IPPROTO_IP, IP_PKTINFO, 1);
    }
    if (result == 0 && device
        && setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, (socklen_t)strlen(device)) < 0)
        result = -errno;
    if (result == 0 && bind(fd, address, length) < 0)
        result = -errno;
    if (result < 0) {
        close(fd);
        return result;
    }
    return fd;
}

static void take_control(const struct cmsghdr *message, struct kwik_datagrams *result) {
    const unsigned char *data = CMSG_DATA(message);
    if (message->cmsg_level == SOL_UDP && message->cmsg_type == UDP_GRO) {
        int segment;
        memcpy(&segment, data, sizeof segment);
        result->segment = segment > 0 ? (size_t)segment : 0;
    } else if (message->cmsg_level == IPPROTO_IP && message->cmsg_type == IP_TOS) {
        result->ecn = data[0] & 3;
    } else if (message->cmsg_level == IPPROTO_IPV6 && message->cmsg_type == IPV6_TCLASS) {
        int class;
        memcpy(&class, data, sizeof class);
        result->ecn = class & 3;
    } else if (message->cmsg_level == IPPROTO_IP && message->cmsg_type == IP_PKTINFO) {
        struct in_pktinfo info;
        memcpy(&info, data, sizeof info);
        struct sockaddr_in *to = (struct sockaddr_in *)&result->to;
        to->sin_family = AF_INET;
        to->sin_addr = info.ipi_addr;
    } else if (message->cmsg_level == IPPROTO_IPV6 && message->cmsg_type == IPV6_PKTINFO) {
        struct in6_pktinfo info;
        memcpy(&info, data, sizeof info);
        struct sockaddr_in6 *to = (struct sockaddr_in6 *)&result->to;
        to->sin6_family = AF_INET6;
        to->sin6_addr = info.ipi6_addr;
        if (IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr))
            to->sin6_scope_id = info.ipi6_ifindex;
    }
}

ssize_t kwik_udp_receive(int fd, void *buffer, size_t size, struct kwik_datagrams *result) {
    union {
        struct cmsghdr align;
        char bytes[256];
    } control;
    struct iovec vector = {buffer, size};
    struct msghdr message = {.msg_name = &result->from,
                             .msg_iov = &vector,
                             .msg_iovlen = 1,
                             .msg_control = &control};
    memset(result, 0, sizeof *result);
    ssize_t count;
    do {
        message.msg_namelen = sizeof result->from;
        message.msg_controllen = sizeof control;
        count = recvmsg(fd, &message, MSG_DONTWAIT);
    } while (count < 0 && errno == EINTR);
    if (count < 0)
        return -errno;
    for (struct cmsghdr *each = CMSG_FIRSTHDR(&message); each; each = CMSG_NXTHDR(&message, each))
        take_control(each, result);
    return count;
}

// The control messages of one send, built one after the other.
struct control {
    _Alignas(struct cmsghdr) char space[128];
    size_t used;
};

static void add_control(struct control *control, int level, int type, const void *data, size_t count) {
    struct cmsghdr *header = (struct cmsghdr *)(control->space + control->used);
    header->cmsg_level = level;
    header->cmsg_type = type;
    header->cmsg_len = CMSG_LEN(count);
    memcpy(CMSG_DATA(header), data, count);
    control->used += CMSG_SPACE(count);
}

static int leaves_as_ipv4(const struct sockaddr *to) {
    return to->sa_family == AF_INET || IN6_IS_ADDR_V4MAPPED(&((const struct sockaddr_in6 *)to)->sin6_addr);
}

ssize_t kwik_udp_send(int fd, const void *bytes, size_t count, uint16_t segment, const struct sockaddr *to,
                      socklen_t to_length, const struct sockaddr *from, uint8_t ecn) {
    struct control control;
    memset(&control, 0, sizeof control);
    if (segment > 0)
        add_control(&control, SOL_UDP, UDP_SEGMENT, &segment, sizeof segment);
    if (ecn > 0) {
        int value = ecn;
        if (leaves_as_ipv4(to))
            add_control(&control, IPPROTO_IP, IP_TOS, &value, sizeof value);
        else
            add_control(&control, IPPROTO_IPV6, IPV6_TCLASS, &value, sizeof value);
    }
    if (from && from->sa_family == AF_INET) {
        struct in_pktinfo info = {.ipi_spec_dst = ((const struct sockaddr_in *)from)->sin_addr};
        add_control(&control, IPPROTO_IP, IP_PKTINFO, &info, sizeof info);
    } else if (from && from->sa_family == AF_INET6) {
        const struct sockaddr_in6 *address = (const struct sockaddr_in6 *)from;
        struct in6_pktinfo info = {.ipi6_addr = address->sin6_addr, .ipi6_ifindex = address->sin6_scope_id};
        add_control(&control, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof info);
    }
    struct iovec vector = {(void *)bytes, count};
    struct msghdr message = {.msg_name = (void *)to,
                             .msg_namelen = to_length,
                             .msg_iov = &vector,
                             .msg_iovlen = 1,
                             .msg_control = control.used ? control.space : NULL,
                             .msg_controllen = control.used};
    ssize_t sent;
    do {
        sent = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : sent;
}

int kwik_socket(int family, int type) {
    int fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return fd < 0 ? -errno : fd;
}

int kwik_socketpair(int type, int pair[2]) {
    return socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0 ? -errno : 0;
}

int kwik_accept(int fd) {
    int accepted;
    do {
        accepted = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    } while (accepted < 0 && (errno == EINTR || errno == ECONNABORTED));
    return accepted < 0 ? -errno : accepted;
}

_Static_assert(sizeof(struct kwik_vector) == sizeof(struct iovec), "kwik_vector is an iovec");
_Static_assert(offsetof(struct kwik_vector, count) == offsetof(struct iovec, iov_len),
               "kwik_vector is an iovec");

ssize_t kwik_send_vectors(int fd, const struct kwik_vector *vectors, size_t count) {
    struct msghdr message = {.msg_iov = (struct iovec *)vectors, .msg_iovlen = count};
    ssize_t sent;
    do {
        sent = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : sent;
}

ssize_t kwik_discard(int fd, size_t count) {
    char scratch[16384];
    ssize_t read;
    do {
        read = recv(fd, NULL, count, MSG_TRUNC | MSG_DONTWAIT);
    } while (read < 0 && errno == EINTR);
    // Only TCP drops bytes without a copy (tcp(7)).
    while (read < 0 && (errno == EFAULT || errno == EINTR))
        read = recv(fd, scratch, count < sizeof scratch ? count : sizeof scratch, MSG_DONTWAIT);
    return read < 0 ? -errno : read;
}

ssize_t kwik_send_message(int fd, const void *bytes, size_t count, const int *fds, size_t fd_count) {
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(kwik_max_descriptors * sizeof(int))];
    } control;
    if (fd_count > kwik_max_descriptors)
        return -E2BIG;
    struct iovec vector = {(void *)bytes, count};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    if (fd_count > 0) {
        memset(&control, 0, sizeof control);
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
        memcpy(CMSG_DATA(header), fds, fd_count * sizeof(int));
    }
    ssize_t sent;
    do {
        sent = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : sent;
}

ssize_t kwik_receive_message(int fd, void *bytes, size_t count, int *fds, size_t fd_capacity,
                             size_t *fd_count, int *truncated) {
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(kwik_max_descriptors * sizeof(int))];
    } control;
    struct iovec vector = {bytes, count};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control};
    ssize_t received;
    do {
        message.msg_controllen = sizeof control;
        received = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    } while (received < 0 && errno == EINTR);
    *fd_count = 0;
    *truncated = 0;
    if (received < 0)
        return -errno;
    *truncated = (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0;
    for (struct cmsghdr *each = CMSG_FIRSTHDR(&message); each; each = CMSG_NXTHDR(&message, each)) {
        if (each->cmsg_level != SOL_SOCKET || each->cmsg_type != SCM_RIGHTS)
            continue;
        size_t brought = (each->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t index = 0; index < brought; index++) {
            int passed;
            memcpy(&passed, CMSG_DATA(each) + index * sizeof(int), sizeof passed);
            if (*fd_count < fd_capacity) {
                fds[(*fd_count)++] = passed;
            } else {
                close(passed);
                *truncated = 1;
            }
        }
    }
    return received;
}

int kwik_peer_credentials(int fd, int32_t *pid, uint32_t *uid, uint32_t *gid) {
    struct ucred credentials;
    socklen_t length = sizeof credentials;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &length) < 0)
        return -errno;
    *pid = credentials.pid;
    *uid = credentials.uid;
    *gid = credentials.gid;
    return 0;
}

static int get_word(int fd, int name, uint64_t *word) {
    socklen_t length = sizeof *word;
    return getsockopt(fd, SOL_SOCKET, name, word, &length) < 0 ? -errno : 0;
}

int kwik_socket_cookie(int fd, uint64_t *cookie) { return get_word(fd, SO_COOKIE, cookie); }

int kwik_namespace_cookie(int fd, uint64_t *cookie) { return get_word(fd, SO_NETNS_COOKIE, cookie); }

static int ask_count(int fd, unsigned long request) {
    int count = 0;
    return ioctl(fd, request, &count) < 0 ? -errno : count;
}

int kwik_unread(int fd) { return ask_count(fd, FIONREAD); }

int kwik_unsent(int fd) { return ask_count(fd, SIOCOUTQ); }

int kwik_status_flags(int fd) {
    int flags = fcntl(fd, F_GETFL);
    return flags < 0 ? -errno : flags;
}

int kwik_set_status_flags(int fd, int flags) { return fcntl(fd, F_SETFL, flags) < 0 ? -errno : 0; }

int kwik_lock_file(int fd) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    return fcntl(fd, F_OFD_SETLK, &lock) < 0 ? -errno : 0;
}

int kwik_random(void *bytes, size_t count) {
    char *next = bytes;
    while (count > 0) {
        ssize_t got = getrandom(next, count, 0);
        if (got < 0 && errno != EINTR)
            return -errno;
        if (got > 0) {
            next += got;
            count -= (size_t)got;
        }
    }
    return 0;
}

int kwik_set_close_on_exec(int fd, int enabled) {
    return fcntl(fd, F_SETFD, enabled ? FD_CLOEXEC : 0) < 0 ? -errno : 0;
}

int kwik_window_size(int fd, int *columns, int *rows) {
    struct winsize size;
    if (ioctl(fd, TIOCGWINSZ, &size) < 0)
        return -errno;
    *columns = size.ws_col;
    *rows = size.ws_row;
    return 0;
}
