#define TOML_HEADER_ONLY 0
#include <toml++/toml.h>

#include <cstdio>
#include <exception>
#include <iterator>
#include <new>
#include <string_view>

#include "CToml.h"

struct kwik_toml_document {
    toml::table root;
};

namespace {

const toml::node *inner(const kwik_toml_node *node) {
    return reinterpret_cast<const toml::node *>(node);
}

const kwik_toml_node *outer(const toml::node *node) {
    return reinterpret_cast<const kwik_toml_node *>(node);
}

kwik_toml_place place(const toml::source_region &region) {
    return {region.begin.line, region.begin.column};
}

} // namespace

extern "C" {

kwik_toml_document *kwik_toml_parse(const char *text, size_t length, kwik_toml_error *error) {
    *error = {{1, 1}, {0}};
    try {
        return new kwik_toml_document{toml::parse(std::string_view(text, length))};
    } catch (const toml::parse_error &problem) {
        error->place = place(problem.source());
        std::snprintf(error->message, sizeof error->message, "%s", problem.what());
    } catch (const std::exception &problem) {
        std::snprintf(error->message, sizeof error->message, "%s", problem.what());
    }
    return nullptr;
}

void kwik_toml_free(kwik_toml_document *document) {
    delete document;
}

const kwik_toml_node *kwik_toml_root(const kwik_toml_document *document) {
    return outer(&document->root);
}

kwik_toml_kind kwik_toml_kind_of(const kwik_toml_node *node) {
    switch (inner(node)->type()) {
    case toml::node_type::table: return kwik_toml_table;
    case toml::node_type::array: return kwik_toml_array;
    case toml::node_type::string: return kwik_toml_string;
    case toml::node_type::integer: return kwik_toml_integer;
    case toml::node_type::floating_point: return kwik_toml_float;
    case toml::node_type::boolean: return kwik_toml_boolean;
    default: return kwik_toml_other;
    }
}

kwik_toml_place kwik_toml_place_of(const kwik_toml_node *node) {
    return place(inner(node)->source());
}

size_t kwik_toml_count(const kwik_toml_node *node) {
    if (const auto *table = inner(node)->as_table()) {
        return table->size();
    }
    if (const auto *array = inner(node)->as_array()) {
        return array->size();
    }
    return 0;
}

const kwik_toml_node *kwik_toml_item(const kwik_toml_node *array, size_t index) {
    return outer(inner(array)->as_array()->get(index));
}

kwik_toml_entry kwik_toml_entry_at(const kwik_toml_node *table, size_t index) {
    auto entry = std::next(inner(table)->as_table()->begin(), static_cast<std::ptrdiff_t>(index));
    const std::string_view key = entry->first.str();
    return {key.data(), key.size(), place(entry->first.source()), outer(&entry->second)};
}

const char *kwik_toml_string_of(const kwik_toml_node *node, size_t *length) {
    const std::string &text = inner(node)->as_string()->get();
    *length = text.size();
    return text.data();
}

int64_t kwik_toml_integer_of(const kwik_toml_node *node) {
    return inner(node)->as_integer()->get();
}

double kwik_toml_float_of(const kwik_toml_node *node) {
    return inner(node)->as_floating_point()->get();
}

int kwik_toml_boolean_of(const kwik_toml_node *node) {
    return inner(node)->as_boolean()->get() ? 1 : 0;
}

} // extern "C"
