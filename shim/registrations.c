#include "kwik.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/*
 * Which epoll instances hold a descriptor. The kernel knows (/proc/self/fdinfo/<epfd>) but reading it costs a
 * line per descriptor, so the last registration of each descriptor is noted as it passes; where the note may
 * be incomplete the kernel is asked. A note is a hint: what EPOLL_CTL_DEL answers is the truth.
 */
#define SLOTS 4096
/* Epoll descriptors above this are not noted, and their registrations are lost in a swap. */
#define EPOLLS 65536

struct slot {
    _Atomic uint32_t turn; /* odd while somebody writes, and for good if fork lost the writer */
    _Atomic int fd;        /* of the note, + 1; 0: none */
    _Atomic int epfd;
    _Atomic uint32_t events;
    _Atomic uint64_t data;
    _Atomic bool several;
};

static struct slot slots[SLOTS];
static _Atomic uint8_t epolls[EPOLLS / 8];
static _Atomic int highest_epoll = -1;
/* Some note was overwritten or could not be taken: an absent note proves nothing any more. */
static _Atomic bool incomplete;

static void note_epoll(int epfd)
{
    if (epfd < 0 || epfd >= EPOLLS)
        return;
    atomic_fetch_or_explicit(&epolls[epfd / 8], (uint8_t)(1u << (epfd % 8)), memory_order_relaxed);
    int seen = atomic_load_explicit(&highest_epoll, memory_order_relaxed);
    while (seen < epfd && !atomic_compare_exchange_weak(&highest_epoll, &seen, epfd)) {
    }
}

static void write_note(struct slot *slot, int epfd, int operation, int fd, const struct epoll_event *event)
{
    int noted = atomic_load(&slot->fd);
    bool same = noted == fd + 1 && atomic_load(&slot->epfd) == epfd;
    if (operation == EPOLL_CTL_DEL) {
        if (same && !atomic_load(&slot->several))
            atomic_store(&slot->fd, 0);
        return;
    }
    if (operation == EPOLL_CTL_MOD && noted == fd + 1 && !same)
        return; /* of another instance than the noted one: `several` stands already */
    if (noted != 0 && noted != fd + 1)
        atomic_store(&incomplete, true);
    atomic_store(&slot->several, noted == fd + 1 && !(same && !atomic_load(&slot->several)));
    atomic_store(&slot->fd, fd + 1);
    atomic_store(&slot->epfd, epfd);
    atomic_store(&slot->events, event->events);
    atomic_store(&slot->data, event->data.u64);
}

void kwik_note_registration(int epfd, int operation, int fd, const struct epoll_event *event)
{
    if (!kwik_setup.active || fd < 0 || (event == NULL && operation != EPOLL_CTL_DEL))
        return;
    if (operation != EPOLL_CTL_ADD && operation != EPOLL_CTL_MOD && operation != EPOLL_CTL_DEL)
        return;
    struct slot *slot = &slots[fd % SLOTS];
    note_epoll(epfd);
    uint32_t turn = atomic_load(&slot->turn);
    if (turn % 2 != 0 || !atomic_compare_exchange_strong(&slot->turn, &turn, turn + 1)) {
        atomic_store(&incomplete, true);
        return;
    }
    write_note(slot, epfd, operation, fd, event);
    atomic_store(&slot->turn, turn + 2);
}

/* Skips to just after `label` and reads the number there; moves *text on. */
static uint64_t number_after(const char **text, const char *label, unsigned base)
{
    uint64_t value = 0;
    const char *found = strstr(*text, label);
    if (found == NULL)
        return UINT64_MAX;
    found += strlen(label);
    while (*found == ' ')
        found++;
    for (;; found++) {
        unsigned digit = *found >= '0' && *found <= '9'   ? (unsigned)(*found - '0')
                         : *found >= 'a' && *found <= 'f' ? (unsigned)(*found - 'a') + 10
                                                          : 16;
        if (digit >= base)
            break;
        value = value * base + digit;
    }
    *text = found;
    return value;
}

/* One line of fdinfo: "tfd: 5 events: 1d data: 7ffe  pos:0 ino:1f sdev:9" (Linux, fs/eventpoll.c). */
static bool parse_line(const char *line, int fd, uint64_t inode, struct epoll_event *event)
{
    if (number_after(&line, "tfd:", 10) != (uint64_t)fd)
        return false;
    event->events = (uint32_t)number_after(&line, "events:", 16);
    event->data.u64 = number_after(&line, "data:", 16);
    return number_after(&line, "ino:", 16) == inode;
}

static void path_of(int epfd, char *path)
{
    static const char directory[] = "/proc/self/fdinfo/";
    char digits[12];
    size_t count = 0, end = sizeof(directory) - 1;
    memcpy(path, directory, sizeof(directory));
    for (unsigned rest = (unsigned)epfd; count == 0 || rest > 0; rest /= 10)
        digits[count++] = (char)('0' + rest % 10);
    while (count > 0)
        path[end++] = digits[--count];
    path[end] = '\0';
}

static bool ask_kernel(int epfd, int fd, uint64_t inode, struct epoll_event *event)
{
    char path[48], buffer[2048];
    size_t held = 0;
    bool found = false;
    path_of(epfd, path);
    int file = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return false;
    while (!found) {
        long count = syscall(SYS_read, file, buffer + held, sizeof(buffer) - 1 - held);
        if (count <= 0)
            break;
        held += (size_t)count;
        buffer[held] = '\0';
        char *line = buffer, *end;
        while (!found && (end = strchr(line, '\n')) != NULL) {
            *end = '\0';
            found = parse_line(line, fd, inode, event);
            line = end + 1;
        }
        held -= (size_t)(line - buffer);
        memmove(buffer, line, held);
        if (held >= sizeof(buffer) - 1)
            break;
    }
    kwik_close(file);
    return found;
}

static int ask_kernel_about_all(int fd, struct kwik_registration *found)
{
    struct stat status;
    int count = 0, last = atomic_load(&highest_epoll);
    if (fstat(fd, &status) != 0)
        return 0;
    for (int epfd = 0; epfd <= last && count < KWIK_REGISTRATIONS_MAX; epfd++) {
        if ((atomic_load_explicit(&epolls[epfd / 8], memory_order_relaxed) & (1u << (epfd % 8))) == 0)
            continue;
        if (ask_kernel(epfd, fd, status.st_ino, &found[count].event))
            found[count++].epfd = epfd;
    }
    return count;
}

int kwik_registrations(int fd, struct kwik_registration *found)
{
    struct slot *slot = &slots[fd % SLOTS];
    uint32_t turn = atomic_load(&slot->turn);
    bool noted = atomic_load(&slot->fd) == fd + 1, several = atomic_load(&slot->several);
    found[0].epfd = atomic_load(&slot->epfd);
    found[0].event.events = atomic_load(&slot->events);
    found[0].event.data.u64 = atomic_load(&slot->data);
    bool steady = turn % 2 == 0 && atomic_load(&slot->turn) == turn;
    if (steady && !noted && !atomic_load(&incomplete))
        return 0;
    /* A ONESHOT registration that has fired is disarmed, which the note cannot know. */
    if (steady && noted && !several && (found[0].event.events & EPOLLONESHOT) == 0)
        return 1;
    struct kwik_registration hint = found[0];
    int count = ask_kernel_about_all(fd, found);
    if (count == 0 && steady && noted) {
        found[0] = hint;
        return 1;
    }
    return count;
}
