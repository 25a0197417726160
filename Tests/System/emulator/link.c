#include "link.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const int64_t NEVER = INT64_MAX;
/* How long a slope of jitter lasts: drawn between these. */
static const int64_t SLOPE_MIN = 10000000, SLOPE_MAX = 50000000;

static struct packet *spare;

struct packet *packet_new(void)
{
    struct packet *packet = spare;
    if (packet) {
        spare = packet->next;
    } else {
        packet = malloc(sizeof *packet);
        if (!packet) {
            perror("emulator: malloc");
            exit(1);
        }
    }
    packet->next = NULL;
    return packet;
}

void packet_free(struct packet *packet)
{
    packet->next = spare;
    spare = packet;
}

static void push(struct fifo *fifo, struct packet *packet)
{
    packet->next = NULL;
    if (fifo->tail) {
        fifo->tail->next = packet;
    } else {
        fifo->head = packet;
    }
    fifo->tail = packet;
}

static struct packet *pop(struct fifo *fifo)
{
    struct packet *packet = fifo->head;
    fifo->head = packet->next;
    if (!fifo->head) {
        fifo->tail = NULL;
    }
    packet->next = NULL;
    return packet;
}

/* Uniform in [0, 1). xorshift64*. */
static double draw(struct line *line)
{
    uint64_t x = line->chance;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    line->chance = x;
    return (double)((x * 0x2545F4914F6CDD1DULL) >> 11) / 9007199254740992.0;
}

void line_init(struct line *line, struct pipe *pipe, uint64_t seed)
{
    memset(line, 0, sizeof *line);
    line->pipe = pipe;
    line->chance = seed * 0x9E3779B97F4A7C15ULL + 1;
    draw(line);
}

void line_take(struct line *line, struct packet *packet, int64_t now)
{
    struct pipe *pipe = line->pipe;
    pipe_advance(pipe, now);
    line->counts.in_packets++;
    line->counts.in_bytes += packet->size;
    if (line->down) {
        line->counts.dead++;
        packet_free(packet);
        return;
    }
    if (pipe->backlog > 0 && pipe->backlog + packet->size > pipe->limit) {
        line->counts.overflow++;
        packet_free(packet);
        return;
    }
    packet->line = line;
    packet->at = now;
    pipe->backlog += packet->size;
    if (pipe->backlog > pipe->peak) {
        pipe->peak = pipe->backlog;
    }
    push(&pipe->waiting, packet);
}

/* The extra delay at a time: a straight line between two drawn values, so that it moves as the delay of a
   radio link does, instead of the maximum of many draws, which is all that a queue in order would show. */
static int64_t jitter_at(struct line *line, int64_t when)
{
    if (line->jitter == 0) {
        return 0;
    }
    if (when - line->jitter_end > SLOPE_MAX) {
        line->jitter_begin = line->jitter_end = when;
    }
    while (when >= line->jitter_end) {
        line->jitter_begin = line->jitter_end;
        line->jitter_end += SLOPE_MIN + (int64_t)(draw(line) * (double)(SLOPE_MAX - SLOPE_MIN));
        line->jitter_from = line->jitter_to;
        line->jitter_to = (int64_t)(draw(line) * (double)line->jitter);
    }
    double part = (double)(when - line->jitter_begin) / (double)(line->jitter_end - line->jitter_begin);
    return line->jitter_from + (int64_t)(part * (double)(line->jitter_to - line->jitter_from));
}

static void insert_by_time(struct fifo *fifo, struct packet *packet)
{
    struct packet **place = &fifo->head;
    while (*place && (*place)->at <= packet->at) {
        place = &(*place)->next;
    }
    packet->next = *place;
    *place = packet;
    if (!packet->next) {
        fifo->tail = packet;
    }
}

/* A packet has left the pipe at `when`. */
static void fly(struct line *line, struct packet *packet, int64_t when)
{
    if (line->down) {
        line->counts.dead++;
        packet_free(packet);
        return;
    }
    if (line->loss > 0 && draw(line) < line->loss) {
        line->counts.lost++;
        packet_free(packet);
        return;
    }
    if (line->reorder) {
        packet->at = when + line->delay + (int64_t)(draw(line) * (double)line->jitter);
        insert_by_time(&line->flying, packet);
        return;
    }
    packet->at = when + line->delay + jitter_at(line, when);
    if (packet->at < line->last_out) {
        packet->at = line->last_out;
    }
    line->last_out = packet->at;
    push(&line->flying, packet);
}

static void begin_head(struct pipe *pipe)
{
    struct packet *head = pipe->waiting.head;
    if (head && pipe->head_leaves == 0 && pipe->bytes_per_ns > 0) {
        int64_t begin = head->at > pipe->free_at ? head->at : pipe->free_at;
        pipe->head_leaves = begin + (int64_t)((double)head->size / pipe->bytes_per_ns);
    }
}

void pipe_advance(struct pipe *pipe, int64_t now)
{
    for (begin_head(pipe); pipe->head_leaves != 0 && pipe->head_leaves <= now; begin_head(pipe)) {
        struct packet *packet = pop(&pipe->waiting);
        int64_t when = pipe->head_leaves;
        pipe->free_at = when;
        pipe->head_leaves = 0;
        pipe->backlog -= packet->size;
        fly(packet->line, packet, when);
    }
}

void pipe_rate(struct pipe *pipe, double bytes_per_ns, int64_t now)
{
    pipe_advance(pipe, now);
    pipe->bytes_per_ns = bytes_per_ns;
    if (pipe->free_at < now) {
        pipe->free_at = now;
    }
}

void line_deliver(struct line *line, int64_t now, int64_t begun)
{
    while (line->flying.head && line->flying.head->at <= now) {
        struct packet *packet = pop(&line->flying);
        if (write(line->out, packet->bytes, (size_t)packet->size) == packet->size) {
            int64_t bin = (now - begun) / (BIN_MS * 1000000LL);
            line->counts.out_packets++;
            line->counts.out_bytes += packet->size;
            if (bin >= 0 && bin < BINS) {
                line->bins[bin] += (uint32_t)packet->size;
            }
        } else {
            line->counts.refused++;
        }
        packet_free(packet);
    }
}

int64_t pipe_next(struct pipe *pipe, int64_t now)
{
    begin_head(pipe);
    if (pipe->head_leaves == 0) {
        return NEVER;
    }
    /* Nothing comes out before the delay has passed as well. */
    int64_t next = pipe->head_leaves + pipe->waiting.head->line->delay;
    return next > now ? next : now;
}

int64_t line_next(const struct line *line)
{
    return line->flying.head ? line->flying.head->at : NEVER;
}

void line_zero(struct line *line)
{
    struct pipe *pipe = line->pipe;
    pipe->peak = pipe->backlog;
    memset(&line->counts, 0, sizeof line->counts);
    memset(line->bins, 0, sizeof line->bins);
}
