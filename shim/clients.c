#include "kwik.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/*
 * Servers. A stream reaches a server as a TCP connection from the gateway on the same machine, and stays one:
 * readiness, backlog, workers, half-closes, resets, urgent data, options, kTLS, a descriptor that another
 * program accepted, all are the kernel's. The address alone is wrong, and that is put right here, from a file
 * that the gateway writes before it connects: no question, no wait, and nothing that somebody else could ask
 * for. The kernel knows a connection by its addresses, so identity survives dup, fork, exec and SCM_RIGHTS.
 *
 * Not a local stream in its place, as for connect(): it would be the faster copy, but would take a question
 * per accept, had no kTLS, and could do nothing for a connection that systemd or inetd accepted.
 */

/* The IPv4 address and port of an IPv4 or v4-mapped peer, both in network order. */
static bool ipv4_of(const struct sockaddr_storage *peer, uint32_t *address, uint16_t *port)
{
    if (peer->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)peer;
        *address = v4->sin_addr.s_addr;
        *port = v4->sin_port;
        return true;
    }
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)peer;
    if (peer->ss_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
        return false;
    memcpy(address, v6->sin6_addr.s6_addr + 12, 4);
    *port = v6->sin6_port;
    return true;
}

/* Nobody but the directory's owner can have written the file. */
static bool is_trusted(int file)
{
    struct stat directory, status;
    return fstatat(AT_FDCWD, kwik_setup.gateway, &directory, AT_SYMLINK_NOFOLLOW) == 0
           && S_ISDIR(directory.st_mode) && (directory.st_mode & 022) == 0 && fstat(file, &status) == 0
           && S_ISREG(status.st_mode) && status.st_uid == directory.st_uid && (status.st_mode & 022) == 0;
}

/* Of a gateway that is gone others may have got the port; its lock went with it. */
static bool is_alive(int file)
{
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
    return syscall(SYS_fcntl, file, F_OFD_GETLK, &lock) == 0 && lock.l_type == F_WRLCK;
}

static bool read_client(int fd, int file, unsigned slot, uint16_t port, struct kwik_client *client)
{
    struct kwik_clients_head head;
    uint64_t network = 0;
    socklen_t length = sizeof(network);
    off_t offset = (off_t)(sizeof(head) + slot * sizeof(*client));
    return syscall(SYS_pread64, file, &head, sizeof(head), (off_t)0) == (long)sizeof(head)
           && memcmp(head.magic, KWIK_CLIENTS_MAGIC, sizeof(head.magic)) == 0 && head.port == port
           && syscall(SYS_pread64, file, client, sizeof(*client), offset) == (long)sizeof(*client)
           && client->used != 0
           && kwik_real.getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &network, &length) == 0
           && network == head.network && is_trusted(file) && is_alive(file);
}

static bool look_up(int fd, unsigned slot, uint16_t port, struct kwik_client *client)
{
    struct kwik_calm calm;
    bool found = false;
    kwik_calm_begin(&calm);
    int file = (int)syscall(SYS_openat, AT_FDCWD, kwik_setup.clients,
                            O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (file >= 0) {
        found = read_client(fd, file, slot, port, client);
        kwik_close(file);
    }
    kwik_calm_end(&calm);
    return found;
}

/* False: an IPv6 client cannot be told to the owner of an IPv4 socket. */
static bool put_client(const struct kwik_client *client, struct sockaddr_storage *peer)
{
    if (peer->ss_family == AF_INET) {
        struct sockaddr_in *v4 = (struct sockaddr_in *)peer;
        if (!IN6_IS_ADDR_V4MAPPED((const struct in6_addr *)client->address))
            return false;
        memcpy(&v4->sin_addr, client->address + 12, 4);
        v4->sin_port = client->port;
        return true;
    }
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)peer;
    memcpy(&v6->sin6_addr, client->address, 16);
    v6->sin6_port = client->port;
    v6->sin6_scope_id = client->scope;
    return true;
}

static bool replace(int fd, struct sockaddr_storage *peer)
{
    struct kwik_client client;
    uint32_t address;
    uint16_t port;
    if (!kwik_setup.serves || !ipv4_of(peer, &address, &port) || ntohl(address) >> 16 != KWIK_CLIENTS_NET)
        return false;
    return look_up(fd, ntohl(address) & 0xffff, port, &client) && put_client(&client, peer);
}

bool kwik_client_of(int fd, struct sockaddr_storage *peer)
{
    socklen_t length = sizeof(*peer);
    int error = errno;
    bool known = kwik_setup.serves && kwik_real.getpeername(fd, (struct sockaddr *)peer, &length) == 0
                 && replace(fd, peer);
    errno = error;
    return known;
}

void kwik_show_client(int fd, struct sockaddr *address, socklen_t *length, socklen_t room)
{
    struct sockaddr_storage peer;
    memset(&peer, 0, sizeof(peer));
    /* What the program has no room for was cut off: the socket knows it still. */
    if (*length > room || *length > sizeof(peer)) {
        if (kwik_client_of(fd, &peer))
            kwik_copy_address(&peer, *length, address, length, room);
        return;
    }
    memcpy(&peer, address, *length);
    if (replace(fd, &peer))
        memcpy(address, &peer, *length);
}
