/* Bytes that the kernel moves between files, pipes and the connection. */
#include "../check.h"
#include <sys/mman.h>
#include <sys/sendfile.h>

#define TOTAL 300000

static unsigned char byte_at(size_t offset)
{
    return (unsigned char)((offset * 2654435761u) >> 13);
}

static int pattern_file(void)
{
    static unsigned char bytes[TOTAL];
    int file = memfd_create("pattern", MFD_CLOEXEC);
    for (size_t i = 0; i < TOTAL; i++)
        bytes[i] = byte_at(i);
    if (file < 0 || write(file, bytes, TOTAL) != TOTAL) {
        perror("file");
        exit(2);
    }
    return file;
}

/* Whether so many bytes of the pattern come from a descriptor. */
static bool brings_pattern(int fd, size_t total)
{
    static unsigned char buffer[65536];
    size_t got = 0;
    while (got < total) {
        ssize_t n = read(fd, buffer, sizeof(buffer));
        if (n <= 0)
            return false;
        for (ssize_t i = 0; i < n; i++) {
            if (buffer[i] != byte_at(got + (size_t)i))
                return false;
        }
        got += (size_t)n;
    }
    return got == total;
}

/* A child that reads what the echo brings. */
static pid_t reader(int fd)
{
    pid_t child = fork();
    if (child == 0)
        _exit(brings_pattern(fd, TOTAL) ? 0 : 1);
    return child;
}

static void tell_reader(const char *name, pid_t child)
{
    int status = 0;
    waitpid(child, &status, 0);
    tell(name, WEXITSTATUS(status));
}

static void file_out(void)
{
    int file = pattern_file(), fd = connected_to("ECHO");
    off_t offset = 0;
    pid_t child = reader(fd);
    long moved = 0;
    while (moved < TOTAL) {
        ssize_t n = sendfile(fd, file, &offset, (size_t)(TOTAL - moved));
        if (n <= 0)
            break;
        moved += n;
    }
    tell("sendfile", moved);
    tell("sendfile: offset", (long)offset);
    tell_reader("sendfile: echo", child);
    tell("sendfile at the end of the file", sendfile(fd, file, &offset, 10));
    close(fd);
    close(file);
}

static void through_pipes(void)
{
    int file = pattern_file(), fd = connected_to("ECHO"), out[2], in[2];
    long moved = 0, back = 0;
    (void)!pipe(out);
    (void)!pipe(in);
    lseek(file, 0, SEEK_SET);
    pid_t child = fork();
    if (child == 0) {
        close(in[1]);
        _exit(brings_pattern(in[0], TOTAL) ? 0 : 1);
    }
    pid_t sender = fork();
    if (sender == 0) {
        while (moved < TOTAL) {
            ssize_t n = splice(file, NULL, out[1], NULL, 30000, SPLICE_F_MOVE);
            for (ssize_t left = n; left > 0;) {
                ssize_t sent = splice(out[0], NULL, fd, NULL, (size_t)left, SPLICE_F_MOVE | SPLICE_F_MORE);
                if (sent <= 0)
                    _exit(1);
                left -= sent;
            }
            if (n <= 0)
                _exit(1);
            moved += n;
        }
        _exit(shutdown(fd, SHUT_WR) == 0 ? 0 : 1);
    }
    for (;;) {
        ssize_t n = splice(fd, NULL, in[1], NULL, 50000, SPLICE_F_MOVE);
        if (n <= 0) {
            tell("splice: end", n);
            break;
        }
        back += n;
    }
    close(in[1]);
    tell("splice: bytes back", back);
    tell_reader("splice: sender", sender);
    tell_reader("splice: echo", child);
    close(in[0]);
    close(out[0]);
    close(out[1]);
    close(fd);
    close(file);
}

int main(void)
{
    file_out();
    through_pipes();
    return 0;
}
