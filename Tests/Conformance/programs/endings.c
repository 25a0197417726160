#include "../check.h"

static void tell_report(const char *name)
{
    char text[64] = "";
    size_t used = 0;
    ssize_t count;
    int fd = connected_to("REPORT");
    while ((count = read(fd, text + used, sizeof(text) - 1 - used)) > 0)
        used += (size_t)count;
    tell_text(name, text);
    close(fd);
}

static void greeting(void)
{
    char buffer[16];
    int fd = connected_to("GREET");
    tell_bool("greet: data", read_exactly(fd, buffer, 5) && memcmp(buffer, "hello", 5) == 0);
    tell("greet: end of file", read(fd, buffer, 1));
    tell("greet: end of file again", read(fd, buffer, 1));
    tell_mask("greet: events", wait_events(fd, POLLIN | POLLRDHUP, LONG_MS) & (POLLIN | POLLRDHUP | POLLERR));
    tell_socket_error("greet: SO_ERROR", fd);
    close(fd);
}

static void reset(bool wrote_more)
{
    char buffer[16];
    int fd = connected_to("RESET");
    (void)!write(fd, "x", 1);
    if (wrote_more)
        tell_bool("reset: data", read_exactly(fd, buffer, 5));
    usleep(200000);
    tell_mask("reset: events", wait_events(fd, POLLIN | POLLOUT | POLLRDHUP, LONG_MS));
    tell_socket_error("reset: SO_ERROR", fd);
    tell_socket_error("reset: SO_ERROR again", fd);
    close(fd);
}

/* Nothing is written: an end of file here would pass for a complete answer. */
static void reset_while_reading(void)
{
    char buffer[16];
    int fd = connected_to("RESET");
    (void)!write(fd, "x", 1);
    tell_bool("reset while reading: data", read_exactly(fd, buffer, 10));
    tell("reset while reading: read", read(fd, buffer, 1));
    tell("reset while reading: read again", read(fd, buffer, 1));
    tell("reset while reading: write", send(fd, "x", 1, MSG_NOSIGNAL));
    struct sockaddr_in address;
    socklen_t length = sizeof(address);
    tell("reset while reading: getpeername", getpeername(fd, (struct sockaddr *)&address, &length));
    tell("reset while reading: shutdown", shutdown(fd, SHUT_WR));
    close(fd);
}

static void what_the_server_sees(void)
{
    char buffer[100];
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    int fd = connected_to("OBSERVE");
    (void)read_exactly(fd, buffer, 100);
    close(fd);
    tell_report("close: server saw");

    fd = connected_to("OBSERVE");
    (void)read_exactly(fd, buffer, 50);
    close(fd);
    tell_report("close with unread data: server saw");

    fd = connected_to("OBSERVE");
    (void)read_exactly(fd, buffer, 100);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    close(fd);
    tell_report("close with linger 0: server saw");

    struct linger wait = {.l_onoff = 1, .l_linger = 2};
    fd = connected_to("OBSERVE");
    (void)read_exactly(fd, buffer, 100);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &wait, sizeof(wait));
    tell("close with linger 2", close(fd));
    tell_report("close with linger 2: server saw");

    fd = connected_to("OBSERVE");
    (void)read_exactly(fd, buffer, 100);
    shutdown(fd, SHUT_WR);
    tell("half-closed: end of file", read(fd, buffer, 1));
    tell_report("half-closed: server saw");
    close(fd);

    pid_t child = fork();
    if (child == 0) {
        fd = connected_to("OBSERVE");
        (void)read_exactly(fd, buffer, 100);
        raise(SIGKILL);
    }
    waitpid(child, NULL, 0);
    tell_report("killed: server saw");
}

static void receive_side(void)
{
    char buffer[16];
    int fd = connected_to("ECHO");
    tell("SHUT_RD", shutdown(fd, SHUT_RD));
    tell("SHUT_RD: read", read(fd, buffer, 1));
    tell("SHUT_RD: write", send(fd, "x", 1, MSG_NOSIGNAL));
    usleep(100000);
    tell("SHUT_RD: write again", send(fd, "y", 1, MSG_NOSIGNAL));
    close(fd);
    fd = connected_to("ECHO");
    tell("SHUT_WR", shutdown(fd, SHUT_WR));
    tell("SHUT_WR: write", send(fd, "z", 1, MSG_NOSIGNAL));
    close(fd);
}

static void pipe_signal(void)
{
    char byte;
    int fd = connected_to("ECHO"), status = 0;
    pid_t child = fork();
    if (child == 0) {
        shutdown(fd, SHUT_WR);
        (void)!write(fd, "x", 1);
        _exit(0);
    }
    waitpid(child, &status, 0);
    tell("SIGPIPE", WIFSIGNALED(status) ? WTERMSIG(status) : 0);
    tell("after the child's shutdown", read(fd, &byte, 1));
    close(fd);
}

int main(void)
{
    greeting();
    reset(false);
    reset(true);
    reset_while_reading();
    what_the_server_sees();
    receive_side();
    pipe_signal();
    return 0;
}
