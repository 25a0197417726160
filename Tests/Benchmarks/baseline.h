// A bare QUIC transfer with libngtcp2 and GnuTLS, as a competent program would write it: what Kwik's data
// plane is measured against. baseline.c: the two programs; quic.c: the connection and its socket.
#pragma once

#include <ngtcp2/ngtcp2.h>
#include <ngtcp2/ngtcp2_crypto.h>

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// As Kwik's TransportSettings.
#define CONNECTION_WINDOW (64u << 20)
#define STREAM_WINDOW (24u << 20)
#define MAXIMAL_PAYLOAD 1472
#define ACKNOWLEDGEMENT_THRESHOLD 8

struct quic {
    ngtcp2_crypto_conn_ref reference; // the TLS session's pointer leads here
    ngtcp2_conn *connection;
    void *session;
    int udp;
    struct sockaddr_in local, remote;
    bool handshake_done, closed;
    uint8_t *out;

    // What is to be sent on `stream`: bytes sent ..< end of it, which stand in a ring until they are
    // acknowledged; then FIN, once `ended`.
    int64_t stream;
    uint8_t *ring;
    size_t ring_size;
    uint64_t acked, sent, end;
    bool ended, fin_taken, closed_stream;

    // Called for bytes of the stream, and for its end. Bytes are granted again by `quic_consumed`.
    void (*received)(void *owner, const uint8_t *bytes, size_t count, bool end);
    void *owner;
};

// Exits with a message when something fails: a benchmark has nobody to recover for.
void quic_fail(const char *what);
uint64_t quic_now(void);
int quic_socket(struct sockaddr_in *address);
void quic_connect(struct quic *quic, const struct sockaddr_in *remote);
// Waits for the first datagram of a client.
void quic_accept(struct quic *quic, const char *certificate, const char *key);
void quic_consumed(struct quic *quic, uint64_t count);
// What has arrived, at most 16 batches.
void quic_receive(struct quic *quic);
// Due timers, then at most 4 batches.
void quic_write(struct quic *quic);
// Tells the peer that it is over.
void quic_close(struct quic *quic);
// Nanoseconds until the next timer; 0: there is more to do.
uint64_t quic_patience(const struct quic *quic);
