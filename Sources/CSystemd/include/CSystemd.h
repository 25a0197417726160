#ifndef CSYSTEMD_H
#define CSYSTEMD_H

// Makes sd_journal_sendv a plain function, which Swift can call, instead of a macro that adds C source
// places.
#define SD_JOURNAL_SUPPRESS_LOCATION 1

#include <systemd/sd-daemon.h>
#include <systemd/sd-journal.h>

#endif
