#include "../check.h"
#include <spawn.h>

extern char **environ;

static void tell_child(const char *name, pid_t child)
{
    int status = 0;
    waitpid(child, &status, 0);
    tell(name, WEXITSTATUS(status));
}

/* The connection, close-on-exec, as the input of a program that we start. */
static void spawned(void)
{
    char text[16] = "";
    char *arguments[] = {"head", "-n1", NULL};
    int output[2], fd = connected_to("ECHO");
    posix_spawn_file_actions_t actions;
    pid_t child = -1;
    (void)!pipe(output);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    (void)!write(fd, "line\n", 5);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fd, 0);
    posix_spawn_file_actions_adddup2(&actions, output[1], 1);
    tell("posix_spawn", posix_spawnp(&child, "head", &actions, NULL, arguments, environ));
    posix_spawn_file_actions_destroy(&actions);
    tell_child("posix_spawn: head", child);
    tell("posix_spawn: its output", read(output[0], text, 5));
    tell_bool("posix_spawn: line", strcmp(text, "line\n") == 0);
    close(output[0]);
    close(output[1]);
    close(fd);
}

static void vforked(void)
{
    int fd = connected_to("ECHO");
    (void)!write(fd, "x\n", 2);
    pid_t child = vfork();
    if (child == 0) {
        dup2(fd, 0);
        execlp("grep", "grep", "-qm1", "x", (char *)NULL);
        _exit(127);
    }
    tell_child("vfork: grep", child);
    (void)!write(fd, "y", 1);
    char byte;
    tell("vfork: still ours", read(fd, &byte, 1));
    close(fd);
}

/* A program that closes whatever it inherited, and only then connects. */
static void all_closed(void)
{
    pid_t child = fork();
    if (child == 0) {
        close_range(0, 0, 0);
        closefrom(2);
        int fd = tcp(0);
        tell("closed all: socket", fd);
        tell("closed all: connect", connect_to(fd, "ECHO"));
        tell_bool("closed all: echo", echoes(fd, "alone"));
        tell("closed all: next descriptor", dup(fd));
        _exit(0);
    }
    tell_child("closed all", child);
}

static void ranges(void)
{
    char buffer[100];
    int fd = connected_to("OBSERVE"), copy = fcntl(fd, F_DUPFD_CLOEXEC, 200);
    tell("F_DUPFD_CLOEXEC", copy);
    tell("its flag", fcntl(copy, F_GETFD));
    tell_bool("read through the copy", read_exactly(copy, buffer, 100));
    tell("close_range", close_range((unsigned)fd, (unsigned)fd, 0));
    tell("read after it", read(fd, buffer, 1));
    tell("close_range of the copy", close_range(100, 300, 0));
    char text[32] = "";
    int report = connected_to("REPORT");
    tell("report", recv(report, text, 11, MSG_WAITALL));
    tell_text("server saw", text);
    close(report);

    fd = connected_to("ECHO");
    tell("CLOSE_RANGE_CLOEXEC", close_range((unsigned)fd, (unsigned)fd, CLOSE_RANGE_CLOEXEC));
    tell("flag then", fcntl(fd, F_GETFD));
    tell_bool("echo then", echoes(fd, "marked"));
    close(fd);
}

int main(void)
{
    spawned();
    vforked();
    all_closed();
    ranges();
    return 0;
}
