/*
 * libkwik.so inside: what its files share. Nothing here allocates, locks, prints, starts a thread or keeps a
 * descriptor: any program may call us from a signal handler, after fork, with every descriptor closed.
 */
#ifndef KWIK_H
#define KWIK_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>
#include <unistd.h>

#include "protocol.h"

#define KWIK_EXPORT __attribute__((visibility("default")))

/* How long connect() may wait for the engine's decision, unless the environment says so, and at most; how
   long a question about our own socket may. */
#define KWIK_DECISION_MS 50
#define KWIK_DECISION_MOST_MS 60000
#define KWIK_ANSWER_MS 1000
/* How long a look at the map that did not find a destination is believed. */
#define KWIK_ABSENCE_MS 10

/* The functions behind ours, resolved once by the constructor (start.c). */
struct kwik_real {
    int (*connect)(int, const struct sockaddr *, socklen_t);
    int (*accept)(int, struct sockaddr *, socklen_t *);
    int (*accept4)(int, struct sockaddr *, socklen_t *, int);
    int (*getsockname)(int, struct sockaddr *, socklen_t *);
    int (*getpeername)(int, struct sockaddr *, socklen_t *);
    int (*getsockopt)(int, int, int, void *, socklen_t *);
    int (*setsockopt)(int, int, int, const void *, socklen_t);
    int (*epoll_ctl)(int, int, int, struct epoll_event *);
    int (*shutdown)(int, int);
    int (*ioctl)(int, unsigned long, ...);
    ssize_t (*send)(int, const void *, size_t, int);
    ssize_t (*sendto)(int, const void *, size_t, int, const struct sockaddr *, socklen_t);
    ssize_t (*sendmsg)(int, const struct msghdr *, int);
    int (*sendmmsg)(int, struct mmsghdr *, unsigned int, int);
};

struct kwik_setup {
    bool active;                 /* false: every call goes straight to libc */
    uid_t uid;                   /* ours when the process started: the engine's */
    char directory[96];          /* the runtime directory */
    char served[sizeof(((struct sockaddr_un *)0)->sun_path)];
    struct sockaddr_un engine;
    int decision;                /* milliseconds that connect() waits for the engine's */
    bool serves;                 /* this process may ask whom a gateway's connections carry */
    char gateway[96];            /* the gateway's runtime directory */
    char clients[108];
};

extern struct kwik_real kwik_real;
extern struct kwik_setup kwik_setup;

/* What A's name says. */
struct kwik_identity {
    struct sockaddr_storage peer, local;
    socklen_t length; /* of both */
};

/* Where a descriptor of ours stands; told by the kernel alone unless said otherwise. */
enum kwik_standing { KWIK_IS_PENDING, KWIK_IS_CONNECTED, KWIK_IS_FAILED };

/* start.c: probes of user memory without touching it first: false where the kernel would say EFAULT. */
bool kwik_readable(const void *start, size_t length);
/* start.c: block every signal and keep errno; give both back. */
struct kwik_calm {
    uint64_t mask;
    int error;
};
void kwik_calm_begin(struct kwik_calm *calm);
void kwik_calm_end(const struct kwik_calm *calm);

/* identity.c */
bool kwik_identify(int fd, struct kwik_identity *identity);
/* As above, for callers that need no addresses. */
bool kwik_is_ours(int fd);
enum kwik_standing kwik_standing(int fd);
/* True if the stream is over in both directions, where TCP is in CLOSE. Asks the engine if it must. */
bool kwik_is_over(int fd);
/* Copies an address out by the kernel's rule: cut at *length, which becomes the whole length. */
void kwik_copy_address(const struct sockaddr_storage *from, socklen_t size, struct sockaddr *to,
                       socklen_t *length, socklen_t room);

/* served.c: whether the engine's map has it; signals must be blocked. */
bool kwik_is_served(const struct kwik_address *destination);
/* Whether the map did not have it a moment ago, without a system call. */
bool kwik_is_known_unserved(const struct kwik_address *destination);

/* clients.c */
/* The client in the place of the gateway, if that is the peer of a TCP socket and says whom it carries. */
bool kwik_client_of(int fd, struct sockaddr_storage *peer);
/* The same for an address that the kernel has just written out; room: what *length was before. */
void kwik_show_client(int fd, struct sockaddr *address, socklen_t *length, socklen_t room);

/* engine.c */
struct kwik_question {
    struct kwik_request request;
    const void *value; /* request.length bytes that go with it (SETOPT) */
    int attached;      /* a descriptor that goes with it; -1: none */
    void *room;        /* for the reply's value */
    size_t room_length;
    int received; /* a descriptor that came with the reply; -1: none */
    struct kwik_reply reply;
    int patience; /* milliseconds */
};
/* A connection to the engine, its credentials verified. Negative: -errno. Signals must be blocked. */
int kwik_dial(void);
/* Asks on a connection that stays open. 0 or -errno. Signals must be blocked. */
int kwik_exchange(int control, struct kwik_question *question);
/* Dials, asks one question about a descriptor of ours, hangs up. 0 or -errno. */
int kwik_ask(int fd, struct kwik_question *question);
void kwik_question_init(struct kwik_question *question, enum kwik_kind kind, int attached);
void kwik_close(int fd);

/* registrations.c */
#define KWIK_REGISTRATIONS_MAX 8
struct kwik_registration {
    int epfd;
    struct epoll_event event;
};
void kwik_note_registration(int epfd, int operation, int fd, const struct epoll_event *event);
/* Every epoll registration of fd, at most KWIK_REGISTRATIONS_MAX. */
int kwik_registrations(int fd, struct kwik_registration *found);

/* swap.c: signals must be blocked. */
/* Puts `replacement` (consumed) in fd's place with fd's flags, time-outs and epoll registrations. */
int kwik_swap(int fd, int replacement);
/* The program's TCP socket comes back, its connect failed or given up. Returns the errno not yet told. */
int kwik_undo(int fd, int family);

/* calls/fastopen.c */
enum kwik_fastopen {
    KWIK_FASTOPEN_NATIVE, /* not for us */
    KWIK_FASTOPEN_SEND,   /* connected: send without the address and the flag */
    KWIK_FASTOPEN_FAILED, /* errno says why */
};
enum kwik_fastopen kwik_fastopen(int fd, const struct sockaddr *address, socklen_t length);
/* After a send with an address failed: whether it is to be sent again without. */
bool kwik_ignores_address(int fd);

/* calls/ioctl.c */
int kwik_ioctl(int fd, unsigned long request, void *argument);

/* calls/connect.c: KWIK_NATIVE: not for us, nothing was touched; else 0 or -errno as connect would give. */
int kwik_connect(int fd, const struct sockaddr *address, socklen_t length, bool *native);

#endif
