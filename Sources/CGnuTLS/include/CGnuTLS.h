// The door to GnuTLS: what Swift can't reach (function pointers in globals, casts of handles).
#pragma once

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

/// Frees what GnuTLS allocated for its caller.
void kwik_gnutls_free(void *memory);
