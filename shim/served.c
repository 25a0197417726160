#include "kwik.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

/* Raw: libc's pread is a cancellation point, and the file would stay open. */
static bool read_at(int file, uint8_t *bytes, size_t count, off_t offset)
{
    return syscall(SYS_pread64, file, bytes, count, offset) == (long)count;
}

static bool search(int file, const uint8_t *wanted)
{
    uint8_t head[KWIK_SERVED_HEAD], entry[KWIK_SERVED_ENTRY];
    if (!read_at(file, head, sizeof(head), 0) || memcmp(head, KWIK_SERVED_MAGIC, 8) != 0)
        return false;
    uint32_t count = 0;
    for (int i = 11; i >= 8; i--)
        count = count << 8 | head[i];
    if (count > KWIK_SERVED_MAX)
        return false;
    uint32_t low = 0, high = count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        off_t offset = KWIK_SERVED_HEAD + (off_t)middle * KWIK_SERVED_ENTRY;
        if (!read_at(file, entry, sizeof(entry), offset))
            return false;
        int order = memcmp(wanted, entry, sizeof(entry));
        if (order == 0)
            return true;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return false;
}

static void entry_of(const struct kwik_address *destination, uint8_t *entry)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (destination->family == AF_INET) {
        memcpy(entry, mapped, sizeof(mapped));
        memcpy(entry + sizeof(mapped), destination->address, 4);
    } else {
        memcpy(entry, destination->address, 16);
    }
    memcpy(entry + 16, &destination->port, 2);
}

/* What this thread did not find in the map when it last looked, believed until `until`: a program that
   connects all the time looks only now and then, and a map that changes is seen before anybody can tell. */
struct absence {
    struct kwik_address destination;
    int64_t until;                  /* milliseconds */
    volatile sig_atomic_t changes;  /* a handler may connect while we compare */
};
static __thread struct absence absence __attribute__((tls_model("initial-exec")));

static int64_t milliseconds(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &time);
    return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

bool kwik_is_known_unserved(const struct kwik_address *destination)
{
    sig_atomic_t changes = absence.changes;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    bool known = memcmp(&absence.destination, destination, sizeof(*destination)) == 0
                 && milliseconds() < absence.until;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    return known && changes == absence.changes;
}

static void remember_absence(const struct kwik_address *destination)
{
    absence.destination = *destination;
    absence.until = milliseconds() + KWIK_ABSENCE_MS;
    absence.changes = absence.changes + 1;
}

/* A directory or a file that somebody else could have put there says nothing. Read, not mapped: a file cut
   short under us must not be a SIGBUS. */
static bool is_in_map(const struct kwik_address *destination)
{
    struct stat status;
    uid_t uid = geteuid();
    if (fstatat(AT_FDCWD, kwik_setup.directory, &status, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISDIR(status.st_mode)
        || status.st_uid != uid || (status.st_mode & 077) != 0)
        return false;
    int flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
    int file = (int)syscall(SYS_openat, AT_FDCWD, kwik_setup.served, flags);
    if (file < 0)
        return false;
    uint8_t wanted[KWIK_SERVED_ENTRY];
    entry_of(destination, wanted);
    bool served = fstat(file, &status) == 0 && S_ISREG(status.st_mode) && status.st_uid == uid
                  && search(file, wanted);
    kwik_close(file);
    return served;
}

bool kwik_is_served(const struct kwik_address *destination)
{
    bool served = is_in_map(destination);
    if (!served)
        remember_absence(destination);
    return served;
}
