#pragma once

#include <stddef.h>
#include <stdint.h>

// XXH3-64 by the widest vector unit that this processor has.
uint64_t kwik_xxh3_64(const void *bytes, size_t count, uint64_t seed);
