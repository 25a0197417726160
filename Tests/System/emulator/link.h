/* One direction of a link: a queue that a rate drains (the pipe), then a delay (the line).
   Times are nanoseconds of CLOCK_MONOTONIC. */
#ifndef KWIK_EMULATOR_LINK_H
#define KWIK_EMULATOR_LINK_H

#include <stdbool.h>
#include <stdint.h>

enum { PACKET_BYTES = 2048, BIN_MS = 10, BINS = 12000 };

struct packet {
    struct packet *next;
    struct line *line;
    /* When it came to the pipe; later: when the line lets it go. */
    int64_t at;
    int size;
    unsigned char bytes[PACKET_BYTES];
};

struct fifo {
    struct packet *head, *tail;
};

/* A bottleneck. Several lines can share one. */
struct pipe {
    struct fifo waiting;
    double bytes_per_ns;
    /* Bytes that may wait, those of the packet on the wire included. */
    int64_t limit, backlog, peak;
    /* When the packet on the wire has left; 0: none is. */
    int64_t head_leaves;
    int64_t free_at;
};

struct counts {
    int64_t in_packets, in_bytes, out_packets, out_bytes;
    /* Dropped by chance, by a full queue, by a link that is down, and by the kernel. */
    int64_t lost, overflow, dead, refused;
};

struct line {
    struct pipe *pipe;
    struct fifo flying;
    int64_t delay, jitter;
    double loss;
    bool reorder, down;
    /* Jitter is a slope from one drawn delay to the next. */
    int64_t jitter_from, jitter_to, jitter_begin, jitter_end;
    int64_t last_out;
    uint64_t chance;
    /* The TUN device where its packets come out. */
    int out;
    struct counts counts;
    uint32_t bins[BINS];
};

struct packet *packet_new(void);
void packet_free(struct packet *packet);

void line_init(struct line *line, struct pipe *pipe, uint64_t seed);

/* Takes a packet that came at `now`; it may be dropped. */
void line_take(struct line *line, struct packet *packet, int64_t now);

/* Moves what has left the pipe by `now` on to its lines. */
void pipe_advance(struct pipe *pipe, int64_t now);

/* A new rate, from now on; the packet on the wire finishes at the old one. */
void pipe_rate(struct pipe *pipe, double bytes_per_ns, int64_t now);

/* Writes out what is due; `begun`: the time of bin 0. */
void line_deliver(struct line *line, int64_t now, int64_t begun);

/* When there is something to do; INT64_MAX: not before a packet comes. */
int64_t pipe_next(struct pipe *pipe, int64_t now);
int64_t line_next(const struct line *line);

/* Counts from zero; settings stay, and so do the packets on their way. */
void line_zero(struct line *line);

#endif
