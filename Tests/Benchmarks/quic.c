#define _GNU_SOURCE
#include "baseline.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <ngtcp2/ngtcp2_crypto_gnutls.h>

#include <arpa/inet.h>
#include <errno.h>
#include <linux/udp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SOCKET_BUFFER (8 << 20)
#define BUFFER 65536
#define RECEIVE_BATCHES 16
#define SEND_BATCHES 4
#define MAXIMAL_SEGMENTS 64
#define MAXIMAL_SEND 65507
#define ID_LENGTH 8

static const char priorities[] =
    "NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-128-GCM:+AES-256-GCM:+CHACHA20-POLY1305:"
    "-GROUP-ALL:+GROUP-X25519:+GROUP-SECP256R1:+GROUP-SECP384R1:%DISABLE_TLS13_COMPAT_MODE";

void quic_fail(const char *what)
{
    fprintf(stderr, "baseline: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void check(int status, const char *what)
{
    if (status == 0)
        return;
    fprintf(stderr, "baseline: %s: %s\n", what, ngtcp2_strerror(status));
    exit(1);
}

uint64_t quic_now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

int quic_socket(struct sockaddr_in *address)
{
    int one = 1, size = SOCKET_BUFFER, probe = IP_PMTUDISC_PROBE;
    socklen_t length = sizeof *address;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) != 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) != 0)
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    setsockopt(fd, IPPROTO_UDP, UDP_GRO, &one, sizeof one);
    setsockopt(fd, IPPROTO_IP, IP_RECVTOS, &one, sizeof one);
    setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &probe, sizeof probe);
    if (fd < 0 || bind(fd, (struct sockaddr *)address, length) != 0 ||
        getsockname(fd, (struct sockaddr *)address, &length) != 0)
        quic_fail("a UDP socket");
    return fd;
}

// MARK: Callbacks

static ngtcp2_conn *connection_of(ngtcp2_crypto_conn_ref *reference)
{
    return ((struct quic *)reference->user_data)->connection;
}

static int acknowledged(ngtcp2_conn *connection, int64_t id, uint64_t offset, uint64_t count, void *user,
                        void *stream)
{
    (void)connection, (void)id, (void)stream;
    ((struct quic *)user)->acked = offset + count;
    return 0;
}

static void fill_randomly(uint8_t *bytes, size_t count, const ngtcp2_rand_ctx *context)
{
    (void)context;
    if (gnutls_rnd(GNUTLS_RND_RANDOM, bytes, count) != 0)
        quic_fail("no randomness");
}

static int new_id(ngtcp2_conn *connection, ngtcp2_cid *id, uint8_t *token, size_t length, void *user)
{
    (void)connection, (void)user;
    fill_randomly(id->data, length, NULL);
    id->datalen = length;
    fill_randomly(token, NGTCP2_STATELESS_RESET_TOKENLEN, NULL);
    return 0;
}

static int handshake_completed(ngtcp2_conn *connection, void *user)
{
    (void)connection;
    ((struct quic *)user)->handshake_done = true;
    return 0;
}

static int stream_data(ngtcp2_conn *connection, uint32_t flags, int64_t id, uint64_t offset,
                       const uint8_t *bytes, size_t count, void *user, void *stream)
{
    struct quic *quic = user;
    (void)connection, (void)offset, (void)stream;
    quic->stream = id;
    quic->received(quic->owner, bytes, count, (flags & NGTCP2_STREAM_DATA_FLAG_FIN) != 0);
    return 0;
}

static int stream_closed(ngtcp2_conn *connection, uint32_t flags, int64_t id, uint64_t code, void *user,
                         void *stream)
{
    (void)connection, (void)flags, (void)id, (void)code, (void)stream;
    ((struct quic *)user)->closed_stream = true;
    return 0;
}

static ngtcp2_callbacks callbacks(bool server)
{
    ngtcp2_callbacks table = {
        .recv_crypto_data = ngtcp2_crypto_recv_crypto_data_cb,
        .encrypt = ngtcp2_crypto_encrypt_cb,
        .decrypt = ngtcp2_crypto_decrypt_cb,
        .hp_mask = ngtcp2_crypto_hp_mask_cb,
        .update_key = ngtcp2_crypto_update_key_cb,
        .delete_crypto_aead_ctx = ngtcp2_crypto_delete_crypto_aead_ctx_cb,
        .delete_crypto_cipher_ctx = ngtcp2_crypto_delete_crypto_cipher_ctx_cb,
        .get_path_challenge_data = ngtcp2_crypto_get_path_challenge_data_cb,
        .version_negotiation = ngtcp2_crypto_version_negotiation_cb,
        .rand = fill_randomly,
        .get_new_connection_id = new_id,
        .handshake_completed = handshake_completed,
        .recv_stream_data = stream_data,
        .stream_close = stream_closed,
        .acked_stream_data_offset = acknowledged,
    };
    if (server) {
        table.recv_client_initial = ngtcp2_crypto_recv_client_initial_cb;
    } else {
        table.client_initial = ngtcp2_crypto_client_initial_cb;
        table.recv_retry = ngtcp2_crypto_recv_retry_cb;
    }
    return table;
}

// MARK: Making a connection

static void secure(struct quic *quic, unsigned flags, gnutls_certificate_credentials_t credentials)
{
    gnutls_session_t session;
    gnutls_datum_t protocol = {(unsigned char *)"bench", 5};
    if (gnutls_init(&session, flags) != 0 || gnutls_priority_set_direct(session, priorities, NULL) != 0 ||
        gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, credentials) != 0 ||
        gnutls_alpn_set_protocols(session, &protocol, 1, GNUTLS_ALPN_MANDATORY) != 0)
        quic_fail("a TLS session");
    quic->reference = (ngtcp2_crypto_conn_ref){.get_conn = connection_of, .user_data = quic};
    gnutls_session_set_ptr(session, &quic->reference);
    quic->session = session;
}

static void defaults(ngtcp2_settings *settings, ngtcp2_transport_params *parameters)
{
    ngtcp2_settings_default(settings);
    settings->cc_algo = NGTCP2_CC_ALGO_CUBIC;
    settings->initial_ts = quic_now();
    settings->max_tx_udp_payload_size = MAXIMAL_PAYLOAD;
    settings->no_tx_udp_payload_size_shaping = 1;
    settings->no_pmtud = 1;
    settings->ack_thresh = ACKNOWLEDGEMENT_THRESHOLD;
    ngtcp2_transport_params_default(parameters);
    parameters->initial_max_data = CONNECTION_WINDOW;
    parameters->initial_max_stream_data_bidi_local = STREAM_WINDOW;
    parameters->initial_max_stream_data_bidi_remote = STREAM_WINDOW;
    parameters->initial_max_streams_bidi = 1;
    parameters->max_idle_timeout = 30u * 1000000000u;
}

static ngtcp2_path path_of(struct quic *quic)
{
    return (ngtcp2_path){.local = {(struct sockaddr *)&quic->local, sizeof quic->local},
                         .remote = {(struct sockaddr *)&quic->remote, sizeof quic->remote}};
}

static ngtcp2_cid random_id(void)
{
    ngtcp2_cid id = {.datalen = ID_LENGTH};
    fill_randomly(id.data, id.datalen, NULL);
    return id;
}

static void prepare(struct quic *quic)
{
    quic->out = malloc(BUFFER);
    quic->stream = -1;
    if (quic->out == NULL)
        quic_fail("memory");
}

void quic_connect(struct quic *quic, const struct sockaddr_in *remote)
{
    gnutls_certificate_credentials_t credentials;
    ngtcp2_settings settings;
    ngtcp2_transport_params parameters;
    ngtcp2_callbacks table = callbacks(false);
    // Its socket is its own: no connection id.
    ngtcp2_cid destination = random_id(), source = {0};
    prepare(quic);
    quic->remote = *remote;
    quic->local = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = remote->sin_addr};
    quic->udp = quic_socket(&quic->local);
    if (gnutls_certificate_allocate_credentials(&credentials) != 0)
        quic_fail("credentials");
    secure(quic, GNUTLS_CLIENT, credentials);
    if (ngtcp2_crypto_gnutls_configure_client_session(quic->session) != 0)
        quic_fail("the TLS session's hooks");
    defaults(&settings, &parameters);
    ngtcp2_path path = path_of(quic);
    check(ngtcp2_conn_client_new(&quic->connection, &destination, &source, &path, NGTCP2_PROTO_VER_V1, &table,
                                 &settings, &parameters, NULL, quic),
          "a client's connection");
    ngtcp2_conn_set_tls_native_handle(quic->connection, quic->session);
}

void quic_accept(struct quic *quic, const char *certificate, const char *key)
{
    gnutls_certificate_credentials_t credentials;
    ngtcp2_settings settings;
    ngtcp2_transport_params parameters;
    ngtcp2_callbacks table = callbacks(true);
    ngtcp2_cid source = random_id();
    ngtcp2_pkt_hd header;
    struct pollfd entry = {.fd = quic->udp, .events = POLLIN};
    socklen_t length = sizeof quic->remote;
    prepare(quic);
    if (gnutls_certificate_allocate_credentials(&credentials) != 0 ||
        gnutls_certificate_set_x509_key_file(credentials, certificate, key, GNUTLS_X509_FMT_PEM) < 0)
        quic_fail("the certificate");
    secure(quic, GNUTLS_SERVER | GNUTLS_NO_TICKETS, credentials);
    if (ngtcp2_crypto_gnutls_configure_server_session(quic->session) != 0)
        quic_fail("the TLS session's hooks");
    // Looked at, and left there for the connection to read.
    if (poll(&entry, 1, -1) != 1)
        quic_fail("poll");
    ssize_t count =
        recvfrom(quic->udp, quic->out, BUFFER, MSG_PEEK, (struct sockaddr *)&quic->remote, &length);
    if (count <= 0)
        quic_fail("the first datagram");
    check(ngtcp2_accept(&header, quic->out, (size_t)count), "the first datagram");
    defaults(&settings, &parameters);
    parameters.original_dcid = header.dcid;
    ngtcp2_path path = path_of(quic);
    check(ngtcp2_conn_server_new(&quic->connection, &header.scid, &source, &path, header.version, &table,
                                 &settings, &parameters, NULL, quic),
          "a server's connection");
    ngtcp2_conn_set_tls_native_handle(quic->connection, quic->session);
}

void quic_consumed(struct quic *quic, uint64_t count)
{
    ngtcp2_conn_extend_max_offset(quic->connection, count);
    ngtcp2_conn_extend_max_stream_offset(quic->connection, quic->stream, count);
}

// MARK: Datagrams

static void take(struct quic *quic, const uint8_t *bytes, size_t count, size_t segment, uint8_t ecn)
{
    ngtcp2_path path = path_of(quic);
    ngtcp2_pkt_info info = {.ecn = ecn};
    uint64_t now = quic_now();
    for (size_t offset = 0; offset < count && !quic->closed; offset += segment) {
        size_t length = count - offset < segment ? count - offset : segment;
        int status = ngtcp2_conn_read_pkt(quic->connection, &path, &info, bytes + offset, length, now);
        if (status == NGTCP2_ERR_DRAINING)
            quic->closed = true;
        else
            check(status, "receiving");
    }
}

void quic_receive(struct quic *quic)
{
    static uint8_t buffer[BUFFER];
    for (int batch = 0; batch < RECEIVE_BATCHES && !quic->closed; batch++) {
        _Alignas(struct cmsghdr) char control[128];
        struct iovec vector = {buffer, sizeof buffer};
        struct msghdr message = {
            .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
        ssize_t count = recvmsg(quic->udp, &message, MSG_DONTWAIT);
        if (count <= 0)
            return;
        int segment = (int)count;
        uint8_t ecn = 0;
        for (struct cmsghdr *each = CMSG_FIRSTHDR(&message); each; each = CMSG_NXTHDR(&message, each)) {
            if (each->cmsg_level == IPPROTO_UDP && each->cmsg_type == UDP_GRO)
                memcpy(&segment, CMSG_DATA(each), sizeof segment);
            else if (each->cmsg_level == IPPROTO_IP && each->cmsg_type == IP_TOS)
                ecn = *(uint8_t *)CMSG_DATA(each) & 3;
        }
        take(quic, buffer, (size_t)count, (size_t)segment, ecn);
    }
}

static void send_batch(struct quic *quic, size_t count, size_t segment, uint8_t ecn)
{
    _Alignas(struct cmsghdr) char control[128] = {0};
    struct iovec vector = {quic->out, count};
    struct msghdr message = {.msg_name = &quic->remote,
                             .msg_namelen = sizeof quic->remote,
                             .msg_iov = &vector,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = CMSG_SPACE(sizeof(uint16_t)) + CMSG_SPACE(sizeof(int))};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    uint16_t size = (uint16_t)segment;
    int tos = ecn;
    *header = (struct cmsghdr){CMSG_LEN(sizeof size), IPPROTO_UDP, UDP_SEGMENT};
    memcpy(CMSG_DATA(header), &size, sizeof size);
    header = CMSG_NXTHDR(&message, header);
    *header = (struct cmsghdr){CMSG_LEN(sizeof tos), IPPROTO_IP, IP_TOS};
    memcpy(CMSG_DATA(header), &tos, sizeof tos);
    // A full buffer loses the batch, as the way does; loss detection sends it again.
    if (sendmsg(quic->udp, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno != EAGAIN)
        quic_fail("sending");
}

static size_t write_packet(struct quic *quic, uint8_t *packet, ngtcp2_pkt_info *info, uint64_t now)
{
    ngtcp2_path_storage path;
    bool blocked = false;
    ngtcp2_path_storage_zero(&path);
    for (;;) {
        uint64_t left = quic->end - quic->sent;
        size_t at = quic->ring_size > 0 ? quic->sent % quic->ring_size : 0;
        ngtcp2_vec vector = {quic->ring + at, MAXIMAL_PAYLOAD};
        if (vector.len > left)
            vector.len = left;
        if (vector.len > quic->ring_size - at)
            vector.len = quic->ring_size - at;
        bool last = quic->ended && vector.len == left, any = left > 0 || (last && !quic->fin_taken);
        int64_t stream = quic->stream >= 0 && any && !blocked ? quic->stream : -1;
        uint32_t fin = last ? NGTCP2_WRITE_STREAM_FLAG_FIN : 0;
        uint32_t flags = stream < 0 ? 0 : NGTCP2_WRITE_STREAM_FLAG_MORE | fin;
        ngtcp2_ssize taken = -1;
        ngtcp2_ssize written =
            ngtcp2_conn_writev_stream(quic->connection, &path.path, info, packet, MAXIMAL_PAYLOAD, &taken,
                                      flags, stream, &vector, stream < 0 ? 0 : 1, now);
        if (taken >= 0 && stream >= 0) {
            quic->sent += (uint64_t)taken;
            quic->fin_taken = last && quic->sent == quic->end;
        }
        if (written >= 0)
            return (size_t)written;
        blocked = written == NGTCP2_ERR_STREAM_DATA_BLOCKED;
        if (!blocked && written != NGTCP2_ERR_WRITE_MORE)
            check((int)written, "writing");
    }
}

// Returns whether a batch was sent.
static bool write_batch(struct quic *quic, uint64_t now)
{
    size_t count = 0, segment = 0, bytes = 0;
    size_t usual = ngtcp2_conn_get_path_max_tx_udp_payload_size(quic->connection);
    size_t quantum = ngtcp2_conn_get_send_quantum(quic->connection);
    size_t most = (quantum < MAXIMAL_SEND ? quantum : MAXIMAL_SEND) / usual;
    uint8_t ecn = 0;
    if (most > MAXIMAL_SEGMENTS)
        most = MAXIMAL_SEGMENTS;
    do {
        ngtcp2_pkt_info info = {0};
        size_t length = write_packet(quic, quic->out + bytes, &info, now);
        if (length == 0)
            break;
        if (count > 0 && (length > segment || info.ecn != ecn)) {
            // It does not fit into this batch: what is there goes first.
            send_batch(quic, bytes, segment, ecn);
            memmove(quic->out, quic->out + bytes, length);
            count = bytes = 0;
        }
        if (count == 0) {
            segment = length;
            ecn = (uint8_t)info.ecn;
        }
        count++;
        bytes += length;
        if (length < segment || length > usual)
            break;
    } while (count < most);
    if (count > 0)
        send_batch(quic, bytes, segment, ecn);
    ngtcp2_conn_update_pkt_tx_time(quic->connection, now);
    return count > 0;
}

void quic_write(struct quic *quic)
{
    uint64_t now = quic_now();
    if (quic->closed)
        return;
    if (ngtcp2_conn_get_expiry(quic->connection) <= now)
        check(ngtcp2_conn_handle_expiry(quic->connection, now), "a timer");
    for (int batch = 0; batch < SEND_BATCHES; batch++)
        if (!write_batch(quic, now))
            return;
}

void quic_close(struct quic *quic)
{
    ngtcp2_connection_close_error none;
    ngtcp2_path_storage path;
    ngtcp2_pkt_info info = {0};
    ngtcp2_connection_close_error_default(&none);
    ngtcp2_path_storage_zero(&path);
    ngtcp2_ssize length = ngtcp2_conn_write_connection_close(quic->connection, &path.path, &info, quic->out,
                                                             MAXIMAL_PAYLOAD, &none, quic_now());
    if (length > 0)
        send_batch(quic, (size_t)length, (size_t)length, (uint8_t)info.ecn);
}

uint64_t quic_patience(const struct quic *quic)
{
    uint64_t now = quic_now(), expiry = ngtcp2_conn_get_expiry(quic->connection);
    return expiry <= now ? 0 : expiry - now;
}
