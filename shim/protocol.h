/*
 * The local protocol between libkwik.so and the engine: SEQPACKET messages on engine.sock in the runtime
 * directory, one request and one reply per message. Both ends are on one machine: native byte order, except
 * for ports, which stay in network order. Sources/KwikPrograms/Messages.swift mirrors this file by hand; a
 * test compares the bytes.
 */
#ifndef KWIK_PROTOCOL_H
#define KWIK_PROTOCOL_H

#include <stdint.h>

#define KWIK_MAGIC 0x314b574bu /* "KWK1" */
/* Longest option value in either direction, in bytes. TCP_INFO has 248 in Linux 6.18. */
#define KWIK_VALUE_MAX 512

enum kwik_kind {
    KWIK_CONNECT = 1, /* + the program's socket T. Replies: NATIVE, BUSY, or TAKEN + the new descriptor A */
    KWIK_SWAPPED = 2, /* A stands at T's number. No reply; only now may a backend be opened */
    KWIK_STATUS = 3,  /* + A */
    KWIK_GETOPT = 4,  /* + A; length: how many bytes the program has room for, none follow */
    KWIK_SETOPT = 5,  /* + A; length bytes follow */
    KWIK_UNDO = 6,    /* + A: give up. Reply: the error not yet told, + T if it is still known */
};

enum kwik_flag {
    KWIK_BLOCKING = 1,   /* CONNECT: the caller waits, so that success needs no second telling */
    KWIK_CONSUME = 2,    /* STATUS: tell a success once; the next answer is CONNECTED */
    KWIK_TAKE_ERROR = 4, /* STATUS: SO_ERROR's rule: the error is told once */
    KWIK_LEFT = 8,       /* STATUS: a blocking connect returned before its end */
    KWIK_MARK = 16,      /* STATUS: `queued` is 1 if A's next byte is the urgent one, or the one behind it */
};

enum kwik_state {
    KWIK_UNKNOWN = 0, /* the engine does not know this descriptor (any more) */
    KWIK_PENDING = 1,
    KWIK_NEWS = 2,      /* connected, and connect() has not said so yet */
    KWIK_CONNECTED = 3, /* connected, and said */
    KWIK_FAILED = 4,
    KWIK_NATIVE = 5, /* CONNECT: not for Kwik: use the real connect */
    KWIK_TAKEN = 6,
    KWIK_BUSY = 7, /* CONNECT: this socket is taken already, through another copy of it */
    KWIK_DONE = 8,
};

struct kwik_address {
    uint16_t family; /* AF_INET, AF_INET6, or 0 */
    uint16_t port;   /* network order */
    uint32_t scope;
    uint8_t address[16]; /* IPv4: the first four */
};

struct kwik_request {
    uint32_t magic;
    uint16_t kind;
    uint16_t flags;
    int32_t level;
    int32_t name;
    uint32_t length;
    uint32_t zero;
    struct kwik_address destination;
};

struct kwik_reply {
    uint32_t magic;
    uint16_t kind; /* of the request */
    uint16_t state;
    int32_t error;   /* errno of the state or of the option call; 0: none */
    uint32_t length; /* of the option's value that follows */
    uint32_t queued; /* STATUS: bytes that the program wrote and Kwik has not read */
    uint32_t zero;
};

_Static_assert(sizeof(struct kwik_address) == 24, "no padding");
_Static_assert(sizeof(struct kwik_request) == 48, "no padding");
_Static_assert(sizeof(struct kwik_reply) == 24, "no padding");

/*
 * The file `served` beside engine.sock: which destinations are worth a question. 16 bytes of head, then
 * entries of 18 bytes in memcmp order: IPv6 or IPv4-mapped address, then the port in network order.
 */
#define KWIK_SERVED_MAGIC "KWIKSRV1"
#define KWIK_SERVED_HEAD 16 /* magic, count (32 bits, little endian), 4 zero bytes */
#define KWIK_SERVED_ENTRY 18
#define KWIK_SERVED_MAX 65536 /* entries */

/*
 * The file `clients` in a gateway's runtime directory: whose stream each of its connections to a backend on
 * this machine carries. Such a connection comes from 127.75.a.b and the port in the head, which the gateway
 * holds on every address while it lives and the file is locked: no other user's process can come from there.
 * Slot a * 256 + b names the client.
 */
#define KWIK_CLIENTS_MAGIC "KWIKCLI1"
#define KWIK_CLIENTS_NET 0x7f4b /* 127.75 */
#define KWIK_CLIENTS_MAX 65536

struct kwik_clients_head {
    char magic[8];
    uint64_t network; /* SO_NETNS_COOKIE */
    uint16_t port;    /* network order */
    uint8_t zero[14];
};

struct kwik_client {
    uint8_t address[16]; /* IPv6 or IPv4-mapped */
    uint16_t port;       /* network order */
    uint16_t used;       /* 0: nobody had this slot yet */
    uint32_t scope;
    uint8_t zero[8];
};

_Static_assert(sizeof(struct kwik_clients_head) == 32, "no padding");
_Static_assert(sizeof(struct kwik_client) == 32, "no padding");

/*
 * A's abstract name, by which every process that holds it knows what it is:
 * NUL "kwik1|" id "|" peer "|" local. Each of the three is packed six bits to a character (0x30 + value, most
 * significant first). id: 16 random bytes. An address: 4, port, 4 bytes; or 6, port, 16 bytes, scope.
 */
#define KWIK_NAME_PREFIX "kwik1|"
#define KWIK_ID_BYTES 16

/*
 * While a connect is pending, A's SO_SNDBUF is the kernel's least (4,608), and 1-byte fillers exhaust it; the
 * engine raises it to KWIK_SEND_BUFFER, or what the program has set, when the far end has connected. So a
 * value below this limit, read from A itself, says "not connected".
 */
#define KWIK_SEND_BUFFER 212992
#define KWIK_PENDING_LIMIT 16384

#endif
