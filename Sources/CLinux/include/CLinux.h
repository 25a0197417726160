// What Linux offers only through C macros, variadic functions, control messages or process globals.
// Every function that can fail returns a negative errno.
#ifndef CLINUX_H
#define CLINUX_H

#include <getopt.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

// UDP

// What one recvmsg brought: one datagram, or several of one sender that the kernel has joined (GRO).
struct kwik_datagrams {
    struct sockaddr_storage from;
    struct sockaddr_storage to; // ss_family 0: not told; the port is always 0
    size_t segment;             // the size of each datagram but the last; 0: there is only one
    uint8_t ecn;
};

// device: the interface that all datagrams come and go by; NULL: the routes decide.
int kwik_udp_open(const struct sockaddr *address, socklen_t length, const char *device);
ssize_t kwik_udp_receive(int fd, void *buffer, size_t size, struct kwik_datagrams *result);
// segment 0: one datagram. from may be NULL.
ssize_t kwik_udp_send(int fd, const void *bytes, size_t count, uint16_t segment, const struct sockaddr *to,
                      socklen_t to_length, const struct sockaddr *from, uint8_t ecn);

// Links and routes

// A socket that is readable after links, addresses, routes or rules have changed.
int kwik_netlink_watch(void);
// 1: something has changed since the last call.
int kwik_netlink_drain(int fd);

struct kwik_route {
    uint32_t interface; // 0: several, taking turns
    int is_local;       // to this machine itself
    unsigned char source[28]; // a sockaddr_in or sockaddr_in6 with port 0; its family 0: not told
};

// The route that packets to `to` take: a sockaddr_in or sockaddr_in6, as is from, which may be NULL.
// interface 0: any. exact: only what stands in the routing tables, where IPv4 otherwise takes everything for
// a neighbour on an interface that is named.
int kwik_route_find(const void *to, const void *from, uint32_t interface, int exact,
                    struct kwik_route *found);

// Streams and local sockets

int kwik_socket(int family, int type);
int kwik_socketpair(int type, int pair[2]);
int kwik_accept(int fd);
// The layout of struct iovec, whose name several C doors would otherwise define for Swift.
struct kwik_vector {
    const void *start;
    size_t count;
};
ssize_t kwik_send_vectors(int fd, const struct kwik_vector *vectors, size_t count);
ssize_t kwik_discard(int fd, size_t count);
ssize_t kwik_send_message(int fd, const void *bytes, size_t count, const int *fds, size_t fd_count);

enum { kwik_max_descriptors = 16 };
// Descriptors beyond fd_capacity are closed; *truncated tells that bytes or descriptors were lost.
ssize_t kwik_receive_message(int fd, void *bytes, size_t count, int *fds, size_t fd_capacity,
                             size_t *fd_count, int *truncated);
int kwik_peer_credentials(int fd, int32_t *pid, uint32_t *uid, uint32_t *gid);
int kwik_socket_cookie(int fd, uint64_t *cookie);
int kwik_namespace_cookie(int fd, uint64_t *cookie);
int kwik_unread(int fd);
int kwik_unsent(int fd);
int kwik_status_flags(int fd);
int kwik_set_status_flags(int fd, int flags);
// Locks the whole file for writing (F_OFD_SETLK), until its last descriptor is closed.
int kwik_lock_file(int fd);

// Waiting

struct kwik_ready {
    uint64_t token;
    uint32_t events;
};
int kwik_epoll_create(void);
int kwik_epoll_add(int epoll, int fd, uint32_t events, uint64_t token);
int kwik_epoll_change(int epoll, int fd, uint32_t events, uint64_t token);
int kwik_epoll_remove(int epoll, int fd);
// At most 64 of them. nanoseconds < 0: without end.
int kwik_epoll_wait(int epoll, struct kwik_ready *ready, int capacity, int64_t nanoseconds);
// Blocks the signal in this thread; the descriptor is readable when it has come.
int kwik_signal_open(int number);
// 1: it had come.
int kwik_signal_take(int fd);

// Processes and terminals

// The environment as it stands: NAME=value each, then NULL.
char **kwik_environment(void);
int kwik_random(void *bytes, size_t count);
int kwik_set_close_on_exec(int fd, int enabled);
int kwik_window_size(int fd, int *columns, int *rows);
// Starts a process that is nobody's child, in a session of its own, with /dev/null as its input and output,
// error_output (-1: /dev/null) as its error output and keep[i] as descriptor 3 + i. Returns its pid.
int kwik_spawn_detached(const char *file, char *const argv[], char *const envp[], const int *keep,
                        size_t keep_count, int error_output);

// What getopt_long said of one option.
struct kwik_option {
    int value;            // -1: no more options; '?': unknown; ':': its argument is missing
    int element;          // the index in argv where the option stood
    int next;             // the index in argv where the parse goes on
    int offender;         // for '?' and ':', the option's value if it is a known one
    const char *argument; // may be NULL
};

void kwik_next_option(int argc, char *const argv[], const char *letters, const struct option *names,
                      int restart, struct kwik_option *result);

#endif
