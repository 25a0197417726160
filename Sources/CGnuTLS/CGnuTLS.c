#include "CGnuTLS.h"

void kwik_gnutls_free(void *memory) { gnutls_free(memory); }
