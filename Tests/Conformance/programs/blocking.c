#include "../check.h"

int main(void)
{
    struct sockaddr_in address, echo = at("ECHO");
    socklen_t length = sizeof(address);
    char byte;
    int before = open_descriptors();
    int fd = tcp(SOCK_CLOEXEC);
    tell("connect", connect_to(fd, "ECHO"));
    tell("descriptors used", open_descriptors() - before);
    tell("getpeername", getpeername(fd, (struct sockaddr *)&address, &length));
    tell("its length", length);
    tell_bool("peer is the server", address.sin_family == AF_INET && address.sin_port == echo.sin_port
                                        && address.sin_addr.s_addr == echo.sin_addr.s_addr);
    length = sizeof(address);
    tell("getsockname", getsockname(fd, (struct sockaddr *)&address, &length));
    tell_bool("local is loopback with a port", address.sin_family == AF_INET && address.sin_port != 0
                                                   && address.sin_addr.s_addr == htonl(INADDR_LOOPBACK));
    length = 4;
    tell("getpeername of 4 bytes", getpeername(fd, (struct sockaddr *)&address, &length));
    tell("whole length", length);
    tell("second connect", connect_to(fd, "ECHO"));
    tell("third connect", connect_to(fd, "GREET"));
    tell_socket_error("SO_ERROR", fd);
    tell("F_GETFD", fcntl(fd, F_GETFD));
    tell("O_NONBLOCK", fcntl(fd, F_GETFL) & O_NONBLOCK);
    tell_mask("idle", wait_events(fd, POLLIN | POLLOUT | POLLRDHUP, LONG_MS));
    tell_bool("echo", echoes(fd, "one two three"));
    tell_bool("echo again", echoes(fd, "x"));
    tell("shutdown", shutdown(fd, SHUT_WR));
    tell("end of file", read(fd, &byte, 1));
    tell_mask("after both ends", wait_events(fd, POLLIN | POLLRDHUP, SHORT_MS) & (POLLIN | POLLRDHUP));
    tell("close", close(fd));

    fd = tcp(0);
    tell("refused", connect_to(fd, "REFUSED"));
    tell_socket_error("SO_ERROR after it", fd);
    tell("connect on the same socket", connect_to(fd, "ECHO"));
    tell_bool("echo there", echoes(fd, "after a refusal"));
    close(fd);
    tell("descriptors left", open_descriptors() - before);
    return 0;
}
