// TOML 1.0 with the place of every value, over toml++ (a C++ library): parse a text, then walk its nodes.
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kwik_toml_document kwik_toml_document;
// Belongs to its document.
typedef struct kwik_toml_node kwik_toml_node;

typedef enum {
    kwik_toml_other = 0, // dates and times
    kwik_toml_table,
    kwik_toml_array,
    kwik_toml_string,
    kwik_toml_integer,
    kwik_toml_float,
    kwik_toml_boolean,
} kwik_toml_kind;

// Lines and columns count from 1.
typedef struct {
    uint32_t line;
    uint32_t column;
} kwik_toml_place;

typedef struct {
    kwik_toml_place place;
    char message[256];
} kwik_toml_error;

typedef struct {
    const char *key; // not terminated
    size_t key_length;
    kwik_toml_place key_place;
    const kwik_toml_node *value;
} kwik_toml_entry;

// NULL: `error` says why.
kwik_toml_document *kwik_toml_parse(const char *text, size_t length, kwik_toml_error *error);
void kwik_toml_free(kwik_toml_document *document);
const kwik_toml_node *kwik_toml_root(const kwik_toml_document *document);

kwik_toml_kind kwik_toml_kind_of(const kwik_toml_node *node);
kwik_toml_place kwik_toml_place_of(const kwik_toml_node *node);
// Items of an array or entries of a table; 0 for all else.
size_t kwik_toml_count(const kwik_toml_node *node);
// `index` < count.
const kwik_toml_node *kwik_toml_item(const kwik_toml_node *array, size_t index);
kwik_toml_entry kwik_toml_entry_at(const kwik_toml_node *table, size_t index);

// Each wants a node of its own kind. The text lives as long as the document and isn't terminated.
const char *kwik_toml_string_of(const kwik_toml_node *node, size_t *length);
int64_t kwik_toml_integer_of(const kwik_toml_node *node);
double kwik_toml_float_of(const kwik_toml_node *node);
int kwik_toml_boolean_of(const kwik_toml_node *node);

#ifdef __cplusplus
}
#endif
