#include "check.h"

/* What programs see when the engine is killed: always an error, never an end of file that passes for the end
   of the data; and new connects go native. */
int main(void)
{
    char buffer[16];
    struct sockaddr_in address;
    socklen_t length = sizeof(address);
    const char *door = getenv("DOOR_PID");
    int silent = connected_to("ECHO"), busy = connected_to("ECHO"), greeted = connected_to("GREET");
    int pending = tcp(SOCK_NONBLOCK), shut = connected_to("ECHO"), on = 1;
    tell_bool("echo", echoes(busy, "before"));
    tell("pending", connect_to(pending, "PENDING"));
    shutdown(shut, SHUT_WR);
    (void)wait_events(greeted, POLLIN, LONG_MS);
    int idle = connected_to("DEAF");
    int family = 0;
    length = sizeof(family);
    tell("an option asked", getsockopt(idle, IPPROTO_TCP, TCP_NODELAY, &family, &length));
    if (door == NULL || kill(atoi(door), SIGKILL) != 0)
        return 1;
    (void)wait_events(silent, POLLRDHUP, LONG_MS);
    tell_mask("silent: events", wait_events(silent, POLLIN | POLLOUT | POLLRDHUP, LONG_MS));
    tell("silent: read", read(silent, buffer, 1));
    tell("busy: read", read(busy, buffer, 1));
    tell("busy: write", send(busy, "x", 1, MSG_NOSIGNAL));
    length = sizeof(address);
    tell("busy: getpeername", getpeername(busy, (struct sockaddr *)&address, &length));
    tell("busy: NODELAY", setsockopt(busy, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)));
    tell_bool("greeted: data first", read_exactly(greeted, buffer, 5) && memcmp(buffer, "hello", 5) == 0);
    tell_mask("pending: events", wait_events(pending, POLLIN | POLLOUT | POLLRDHUP, LONG_MS));
    tell_socket_error("pending: SO_ERROR", pending);
    tell("pending: connect", connect_to(pending, "ECHO"));
    tell("pending: connect again", connect_to(pending, "ECHO"));
    tell_mask("pending: writable", wait_events(pending, POLLOUT, LONG_MS));
    int fresh = tcp(0);
    tell("fresh: connect", connect_to(fresh, "ECHO"));
    tell_bool("fresh: echo", echoes(fresh, "native"));
    return 0;
}
