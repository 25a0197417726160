#include "../check.h"

static void bad_pointers(const char *state, int fd)
{
    char text[64];
    struct sockaddr_in address = at("ECHO");
    socklen_t length = sizeof(address), negative = (socklen_t)-1;
    snprintf(text, sizeof(text), "%s: getsockname to nowhere", state);
    tell(text, getsockname(fd, (void *)8, &length));
    snprintf(text, sizeof(text), "%s: getsockname without a length", state);
    tell(text, getsockname(fd, (struct sockaddr *)&address, (void *)8));
    snprintf(text, sizeof(text), "%s: getsockname of length -1", state);
    tell(text, getsockname(fd, (struct sockaddr *)&address, &negative));
    snprintf(text, sizeof(text), "%s: getpeername to nowhere", state);
    length = sizeof(address);
    tell(text, getpeername(fd, (void *)8, &length));
    snprintf(text, sizeof(text), "%s: getsockopt to nowhere", state);
    length = 4;
    tell(text, getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, (void *)8, &length));
    snprintf(text, sizeof(text), "%s: SO_ERROR to nowhere", state);
    tell(text, getsockopt(fd, SOL_SOCKET, SO_ERROR, (void *)8, &length));
    snprintf(text, sizeof(text), "%s: getsockopt without a length", state);
    tell(text, getsockopt(fd, SOL_SOCKET, SO_TYPE, &address, (void *)8));
    snprintf(text, sizeof(text), "%s: SIOCOUTQ to nowhere", state);
    tell(text, ioctl(fd, SIOCOUTQ, (void *)8));
    snprintf(text, sizeof(text), "%s: connect to nowhere", state);
    tell(text, connect(fd, (void *)8, sizeof(address)));
    snprintf(text, sizeof(text), "%s: connect of one byte", state);
    tell(text, connect(fd, (struct sockaddr *)&address, 1));
    snprintf(text, sizeof(text), "%s: shutdown how", state);
    tell(text, shutdown(fd, 17));
}

int main(void)
{
    struct sockaddr_in address = at("ECHO");
    struct sockaddr_in6 other = {.sin6_family = AF_INET6, .sin6_port = address.sin_port};
    int fd = tcp(0), pipes[2];
    bad_pointers("fresh", fd);
    tell("short address", connect(fd, (struct sockaddr *)&address, 8));
    other.sin6_addr = in6addr_loopback;
    tell("address of another family", connect(fd, (struct sockaddr *)&other, sizeof(other)));
    tell("connect", connect(fd, (struct sockaddr *)&address, sizeof(address)));
    bad_pointers("connected", fd);
    tell_bool("echo after all that", echoes(fd, "still"));
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    tell("disconnect", connect(fd, &none, sizeof(none)));
    socklen_t length = sizeof(address);
    tell("getpeername", getpeername(fd, (struct sockaddr *)&address, &length));
    tell("connect again", connect_to(fd, "ECHO"));
    tell_bool("echo again", echoes(fd, "again"));
    close(fd);
    tell("closed", connect_to(fd, "ECHO"));
    (void)!pipe(pipes);
    tell("no socket", connect_to(pipes[0], "ECHO"));
    tell("getsockname of no socket", getsockname(pipes[0], (struct sockaddr *)&address, &length));
    int udp = socket(AF_INET, SOCK_DGRAM, 0);
    tell("udp", connect_to(udp, "ECHO"));
    length = sizeof(address);
    tell("udp: getpeername", getpeername(udp, (struct sockaddr *)&address, &length));
    tell("udp: NODELAY", setsockopt(udp, IPPROTO_TCP, TCP_NODELAY, &length, sizeof(length)));
    close(udp);
    return 0;
}
