// jansson, whose reference counting and types are macros and inline functions.
#pragma once

#include <jansson.h>

// NULL: `error` says why. Refuses repeated keys and NUL characters; one value of any kind is a text.
static inline json_t *kwik_json_parse(const char *text, size_t length, json_error_t *error) {
    return json_loadb(text, length, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, error);
}

static inline void kwik_json_free(json_t *value) {
    json_decref(value);
}

static inline int kwik_json_type(const json_t *value) {
    return json_typeof(value);
}
