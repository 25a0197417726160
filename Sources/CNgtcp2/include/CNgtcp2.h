// The door to libngtcp2 and its GnuTLS helper: the function-like macros as functions, and what Swift can't
// say.
#pragma once

#include <ngtcp2/ngtcp2.h>
#include <ngtcp2/ngtcp2_crypto.h>
#include <string.h>

/// What a TLS session's user pointer points to. libngtcp2_crypto casts that pointer to
/// `ngtcp2_crypto_conn_ref`, so `reference` stands first.
typedef struct kwik_session_link {
    ngtcp2_crypto_conn_ref reference;
    ngtcp2_conn *connection;
    void *state;
} kwik_session_link;

/// Makes `link` the way from the TLS session to its connection. Does not take anything over.
void kwik_session_link_init(kwik_session_link *link, void *state);

/// Registers the QUIC hooks on a `gnutls_session_t`. 0, or negative on failure.
int kwik_configure_client_session(void *session);
int kwik_configure_server_session(void *session);

/// Fills in the callbacks for which libngtcp2_crypto has a function; the others are null.
void kwik_crypto_callbacks(ngtcp2_callbacks *callbacks, int server);

static inline void kwik_settings_default(ngtcp2_settings *settings) { ngtcp2_settings_default(settings); }

static inline void kwik_transport_params_default(ngtcp2_transport_params *params) {
    ngtcp2_transport_params_default(params);
}

static inline int kwik_client_new(ngtcp2_conn **connection, const ngtcp2_cid *dcid, const ngtcp2_cid *scid,
                                  const ngtcp2_path *path, const ngtcp2_callbacks *callbacks,
                                  const ngtcp2_settings *settings, const ngtcp2_transport_params *params,
                                  void *user_data) {
    return ngtcp2_conn_client_new(connection, dcid, scid, path, NGTCP2_PROTO_VER_V1, callbacks, settings,
                                  params, NULL, user_data);
}

static inline int kwik_server_new(ngtcp2_conn **connection, const ngtcp2_cid *dcid, const ngtcp2_cid *scid,
                                  const ngtcp2_path *path, uint32_t version,
                                  const ngtcp2_callbacks *callbacks, const ngtcp2_settings *settings,
                                  const ngtcp2_transport_params *params, void *user_data) {
    return ngtcp2_conn_server_new(connection, dcid, scid, path, version, callbacks, settings, params, NULL,
                                  user_data);
}

/// Datagrams behind each other, of `segment` bytes but the last. Stops at the first that is an error.
static inline int kwik_read_packets(ngtcp2_conn *connection, const ngtcp2_path *path, uint8_t ecn,
                                    const uint8_t *bytes, size_t count, size_t segment,
                                    ngtcp2_tstamp now) {
    ngtcp2_pkt_info info = {.ecn = ecn};
    int status = 0;
    for (size_t at = 0; at < count && status == 0; at += segment) {
        size_t length = count - at < segment ? count - at : segment;
        status = ngtcp2_conn_read_pkt(connection, path, &info, bytes + at, length, now);
    }
    return status;
}

/// Whether the addresses differ from the last ones, which they then become.
static inline int kwik_path_moved(const ngtcp2_path_storage *now, ngtcp2_path_storage *last) {
    if (ngtcp2_path_eq(&now->path, &last->path))
        return 0;
    ngtcp2_path_copy(&last->path, &now->path);
    return 1;
}

static inline ngtcp2_ssize kwik_writev_stream(ngtcp2_conn *connection, ngtcp2_path_storage *path,
                                              ngtcp2_pkt_info *info, uint8_t *packet, size_t capacity,
                                              ngtcp2_ssize *taken, uint32_t flags, int64_t stream,
                                              const ngtcp2_vec *vectors, size_t count, ngtcp2_tstamp now) {
    return ngtcp2_conn_writev_stream(connection, &path->path, info, packet, capacity, taken, flags, stream,
                                     vectors, count, now);
}

static inline ngtcp2_ssize kwik_write_connection_close(ngtcp2_conn *connection, ngtcp2_path_storage *path,
                                                       ngtcp2_pkt_info *info, uint8_t *packet,
                                                       size_t capacity,
                                                       const ngtcp2_connection_close_error *error,
                                                       ngtcp2_tstamp now) {
    return ngtcp2_conn_write_connection_close(connection, &path->path, info, packet, capacity, error, now);
}

static inline void kwik_get_conn_stat(ngtcp2_conn *connection, ngtcp2_conn_stat *stat) {
    ngtcp2_conn_get_conn_stat(connection, stat);
}
