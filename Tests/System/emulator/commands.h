/* What the emulator is told on standard input, a line each; every line is answered by one line of JSON.

     set LINK up|down|both KEY=VALUE...   rate (Mbit/s; 0 holds everything), delay, jitter (ms, one way),
                                          loss (percent), queue (bytes), reorder (0 or 1)
     kill LINK up|down|both               silence: what is in the queue and what comes is dropped
     restore LINK up|down|both
     after MS COMMAND                     does it that much later; answered at once
     forget                               drops everything that `after` planned
     zero                                 counts from zero; what is on its way stays
     stats                                counts
     series                               counts, and the bytes that came out in each 10 ms since `zero`
*/
#ifndef KWIK_EMULATOR_COMMANDS_H
#define KWIK_EMULATOR_COMMANDS_H

#include "link.h"

enum { LINKS = 16, PLANNED = 64, COMMAND_BYTES = 256, UP = 0, DOWN = 1 };

struct link {
    char name[16];
    /* TUN devices at the client's end and at the server's. */
    int client, server;
    struct pipe own[2];
    struct line lines[2];
};

struct plan {
    int64_t at;
    char command[COMMAND_BYTES];
};

struct emulator {
    struct link links[LINKS];
    int count;
    int64_t begun;
    struct plan plans[PLANNED];
    int planned;
};

/* Carries out one command and, unless it was planned, answers it on standard output. */
void command(struct emulator *emulator, char *text, int64_t now, bool answer);

/* Carries out what is due; returns when the next is, INT64_MAX: none. */
int64_t plans_run(struct emulator *emulator, int64_t now);

#endif
