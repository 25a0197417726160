#include "CNgtcp2.h"

#include <ngtcp2/ngtcp2_crypto_gnutls.h>

static ngtcp2_conn *link_connection(ngtcp2_crypto_conn_ref *reference) {
    return ((kwik_session_link *)reference)->connection;
}

void kwik_session_link_init(kwik_session_link *link, void *state) {
    link->reference.get_conn = link_connection;
    link->reference.user_data = NULL;
    link->connection = NULL;
    link->state = state;
}

int kwik_configure_client_session(void *session) {
    return ngtcp2_crypto_gnutls_configure_client_session(session);
}

int kwik_configure_server_session(void *session) {
    return ngtcp2_crypto_gnutls_configure_server_session(session);
}

void kwik_crypto_callbacks(ngtcp2_callbacks *callbacks, int server) {
    memset(callbacks, 0, sizeof(*callbacks));
    if (server) {
        callbacks->recv_client_initial = ngtcp2_crypto_recv_client_initial_cb;
    } else {
        callbacks->client_initial = ngtcp2_crypto_client_initial_cb;
        callbacks->recv_retry = ngtcp2_crypto_recv_retry_cb;
    }
    callbacks->recv_crypto_data = ngtcp2_crypto_recv_crypto_data_cb;
    callbacks->encrypt = ngtcp2_crypto_encrypt_cb;
    callbacks->decrypt = ngtcp2_crypto_decrypt_cb;
    callbacks->hp_mask = ngtcp2_crypto_hp_mask_cb;
    callbacks->update_key = ngtcp2_crypto_update_key_cb;
    callbacks->delete_crypto_aead_ctx = ngtcp2_crypto_delete_crypto_aead_ctx_cb;
    callbacks->delete_crypto_cipher_ctx = ngtcp2_crypto_delete_crypto_cipher_ctx_cb;
    callbacks->get_path_challenge_data = ngtcp2_crypto_get_path_challenge_data_cb;
    callbacks->version_negotiation = ngtcp2_crypto_version_negotiation_cb;
}
