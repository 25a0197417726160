#define _GNU_SOURCE
#include "CLinux.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

char **kwik_environment(void) { return environ; }

// What the detached process sends its starter: its pid, and afterwards an errno if exec failed.
struct report {
    int pid;
    int error;
};

static void tell(int fd, int pid, int error) {
    struct report report = {pid, error};
    // The starter waits for the end of the pipe, so an unsent report shows as a failed start.
    if (write(fd, &report, sizeof report) < 0)
        _exit(127);
}

static int place_descriptors(const int *keep, size_t keep_count, int error_output, int *report) {
    enum { first_kept = 3 };
    int moved[kwik_max_descriptors];
    int above = first_kept + kwik_max_descriptors;
    *report = fcntl(*report, F_DUPFD_CLOEXEC, above);
    if (*report < 0)
        return -1;
    for (size_t index = 0; index < keep_count; index++) {
        moved[index] = fcntl(keep[index], F_DUPFD_CLOEXEC, above);
        if (moved[index] < 0)
            return -1;
    }
    if (error_output >= 0)
        error_output = fcntl(error_output, F_DUPFD_CLOEXEC, above);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0 ||
        dup2(error_output >= 0 ? error_output : null, STDERR_FILENO) < 0)
        return -1;
    for (size_t index = 0; index < keep_count; index++)
        if (dup2(moved[index], first_kept + (int)index) < 0)
            return -1;
    return close_range((unsigned)(first_kept + keep_count), ~0U, CLOSE_RANGE_CLOEXEC);
}

static void default_signals(void) {
    sigset_t none;
    struct sigaction standard = {.sa_handler = SIG_DFL};
    for (int number = 1; number < NSIG; number++)
        sigaction(number, &standard, NULL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

int kwik_spawn_detached(const char *file, char *const argv[], char *const envp[], const int *keep,
                        size_t keep_count, int error_output) {
    int channel[2];
    if (keep_count > kwik_max_descriptors)
        return -E2BIG;
    if (pipe2(channel, O_CLOEXEC) < 0)
        return -errno;
    pid_t middle = fork();
    if (middle == 0) {
        // A second fork: the process is adopted by init, so that whoever started it never has to wait for it.
        setsid();
        pid_t last = fork();
        if (last != 0) {
            if (last < 0)
                tell(channel[1], 0, errno);
            _exit(0);
        }
        int report = channel[1];
        if (place_descriptors(keep, keep_count, error_output, &report) == 0) {
            default_signals();
            tell(report, getpid(), 0);
            execvpe(file, argv, envp);
        }
        tell(report, 0, errno);
        _exit(127);
    }
    int failure = middle < 0 ? errno : 0;
    close(channel[1]);
    int pid = 0;
    while (failure == 0) {
        struct report report;
        ssize_t count = read(channel[0], &report, sizeof report);
        if (count < 0 && errno == EINTR)
            continue;
        if (count != (ssize_t)sizeof report)
            break;
        pid = report.pid;
        failure = report.error;
    }
    close(channel[0]);
    if (middle > 0)
        while (waitpid(middle, NULL, 0) < 0 && errno == EINTR)
            continue;
    if (failure == 0 && pid == 0)
        failure = ECHILD;
    return failure ? -failure : pid;
}

void kwik_next_option(int argc, char *const argv[], const char *letters, const struct option *names,
                      int restart, struct kwik_option *result) {
    // GNU getopt starts afresh at 0.
    if (restart)
        optind = 0;
    opterr = 0;
    optarg = NULL;
    optopt = 0;
    result->element = optind == 0 ? 1 : optind;
    result->value = getopt_long(argc, argv, letters, names, NULL);
    result->next = optind;
    result->offender = optopt;
    result->argument = optarg;
}
