#include "commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double MBIT_PER_S = 1e6 / 8 / 1e9; /* bytes per nanosecond */
static const double MS = 1e6;

static struct link *find(struct emulator *emulator, const char *name)
{
    for (int i = 0; name && i < emulator->count; i++) {
        if (strcmp(emulator->links[i].name, name) == 0) {
            return &emulator->links[i];
        }
    }
    return NULL;
}

/* The directions that a word names, as bits; 0: none. */
static int directions(const char *word)
{
    if (!word) {
        return 0;
    }
    return strcmp(word, "both") == 0 ? 3 : strcmp(word, "up") == 0 ? 1 : strcmp(word, "down") == 0 ? 2 : 0;
}

static const char *set_one(struct line *line, char *pair, int64_t now)
{
    char *value = strchr(pair, '=');
    if (!value) {
        return "KEY=VALUE expected";
    }
    *value++ = 0;
    char *end;
    double number = strtod(value, &end);
    if (end == value || *end || !(number >= 0) || number > 1e9) {
        return "bad number";
    }
    if (strcmp(pair, "rate") == 0) {
        pipe_rate(line->pipe, number * MBIT_PER_S, now);
    } else if (strcmp(pair, "delay") == 0) {
        line->delay = (int64_t)(number * MS);
    } else if (strcmp(pair, "jitter") == 0) {
        line->jitter = (int64_t)(number * MS);
    } else if (strcmp(pair, "loss") == 0) {
        line->loss = number / 100;
    } else if (strcmp(pair, "queue") == 0) {
        line->pipe->limit = (int64_t)number;
    } else if (strcmp(pair, "reorder") == 0) {
        line->reorder = number != 0;
    } else {
        return "unknown key";
    }
    return NULL;
}

static const char *set(struct link *link, int which, char **rest, int64_t now)
{
    char *word;
    while ((word = strtok_r(NULL, " ", rest))) {
        for (int i = 0; i < 2; i++) {
            char copy[COMMAND_BYTES];
            snprintf(copy, sizeof copy, "%s", word);
            const char *problem = which & (1 << i) ? set_one(&link->lines[i], copy, now) : NULL;
            if (problem) {
                return problem;
            }
        }
    }
    return NULL;
}

static const char *plan(struct emulator *emulator, char *rest, int64_t now)
{
    char *end;
    double ms = strtod(rest, &end);
    if (end == rest || *end != ' ' || !(ms >= 0) || ms > 1e7) {
        return "after MS COMMAND expected";
    }
    if (emulator->planned == PLANNED) {
        return "too much is planned";
    }
    /* In the order of time; those of one time in the order of their coming. */
    int64_t at = now + (int64_t)(ms * MS);
    int place = emulator->planned++;
    for (; place > 0 && emulator->plans[place - 1].at > at; place--) {
        emulator->plans[place] = emulator->plans[place - 1];
    }
    emulator->plans[place].at = at;
    snprintf(emulator->plans[place].command, COMMAND_BYTES, "%s", end + 1);
    return NULL;
}

int64_t plans_run(struct emulator *emulator, int64_t now)
{
    while (emulator->planned > 0 && emulator->plans[0].at <= now) {
        struct plan due = emulator->plans[0];
        emulator->planned--;
        memmove(emulator->plans, emulator->plans + 1, (size_t)emulator->planned * sizeof due);
        command(emulator, due.command, now, false);
    }
    return emulator->planned > 0 ? emulator->plans[0].at : INT64_MAX;
}

static void print_line(const struct line *line, const char *name, bool series)
{
    const struct counts *c = &line->counts;
    printf("\"%s\":{\"in_packets\":%lld,\"in_bytes\":%lld,\"out_packets\":%lld,\"out_bytes\":%lld,"
           "\"lost\":%lld,\"overflow\":%lld,\"dead\":%lld,\"refused\":%lld,\"queue_bytes\":%lld,"
           "\"queue_peak\":%lld",
           name, (long long)c->in_packets, (long long)c->in_bytes, (long long)c->out_packets,
           (long long)c->out_bytes, (long long)c->lost, (long long)c->overflow, (long long)c->dead,
           (long long)c->refused, (long long)line->pipe->backlog, (long long)line->pipe->peak);
    if (series) {
        int last = BINS;
        while (last > 0 && line->bins[last - 1] == 0) {
            last--;
        }
        printf(",\"series\":[");
        for (int i = 0; i < last; i++) {
            printf(i ? ",%u" : "%u", line->bins[i]);
        }
        printf("]");
    }
    printf("}");
}

static void print_counts(struct emulator *emulator, int64_t now, bool series)
{
    printf("{\"begun_ns\":%lld,\"ms\":%.3f,\"bin_ms\":%d,\"links\":{", (long long)emulator->begun,
           (double)(now - emulator->begun) / MS, BIN_MS);
    for (int i = 0; i < emulator->count; i++) {
        struct link *link = &emulator->links[i];
        printf("%s\"%s\":{", i ? "," : "", link->name);
        print_line(&link->lines[UP], "up", series);
        printf(",");
        print_line(&link->lines[DOWN], "down", series);
        printf("}");
    }
    printf("}}\n");
    fflush(stdout);
}

static void zero(struct emulator *emulator, int64_t now)
{
    for (int i = 0; i < emulator->count; i++) {
        line_zero(&emulator->links[i].lines[UP]);
        line_zero(&emulator->links[i].lines[DOWN]);
    }
    emulator->begun = now;
}

static const char *on_link(struct emulator *emulator, const char *verb, char **rest, int64_t now)
{
    struct link *link = find(emulator, strtok_r(NULL, " ", rest));
    int which = directions(strtok_r(NULL, " ", rest));
    if (!link || !which) {
        return "LINK up|down|both expected";
    }
    if (strcmp(verb, "set") == 0) {
        return set(link, which, rest, now);
    }
    for (int i = 0; i < 2; i++) {
        if (which & (1 << i)) {
            /* What has left before is on its way already. */
            pipe_advance(link->lines[i].pipe, now);
            link->lines[i].down = strcmp(verb, "kill") == 0;
        }
    }
    return NULL;
}

void command(struct emulator *emulator, char *text, int64_t now, bool answer)
{
    char *rest = NULL;
    const char *problem = NULL;
    char *verb = strtok_r(text, " ", &rest);
    if (!verb) {
        problem = "empty";
    } else if (strcmp(verb, "set") == 0 || strcmp(verb, "kill") == 0 || strcmp(verb, "restore") == 0) {
        problem = on_link(emulator, verb, &rest, now);
    } else if (strcmp(verb, "after") == 0) {
        problem = plan(emulator, rest, now);
    } else if (strcmp(verb, "forget") == 0) {
        emulator->planned = 0;
    } else if (strcmp(verb, "zero") == 0) {
        zero(emulator, now);
    } else if (answer && (strcmp(verb, "stats") == 0 || strcmp(verb, "series") == 0)) {
        print_counts(emulator, now, strcmp(verb, "series") == 0);
        return;
    } else {
        problem = "unknown command";
    }
    if (!answer) {
        if (problem) {
            fprintf(stderr, "emulator: planned command failed: %s\n", problem);
        }
        return;
    }
    if (problem) {
        printf("{\"error\":\"%s\"}\n", problem);
    } else {
        printf("{}\n");
    }
    fflush(stdout);
}
