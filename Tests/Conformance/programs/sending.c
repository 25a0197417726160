#include "../check.h"

static bool reads(int fd, const char *text)
{
    char buffer[64];
    size_t count = strlen(text);
    return read_exactly(fd, buffer, count) && memcmp(buffer, text, count) == 0;
}

static void with_address(void)
{
    struct sockaddr_in elsewhere = {.sin_family = AF_INET, .sin_port = htons(9)};
    int fd = connected_to("ECHO");
    elsewhere.sin_addr.s_addr = htonl(0x0a000001);
    tell("sendto", sendto(fd, "abc", 3, 0, (struct sockaddr *)&elsewhere, sizeof(elsewhere)));
    tell_bool("sendto: echo", reads(fd, "abc"));
    struct iovec parts[2] = {{"de", 2}, {"f", 1}};
    struct msghdr message = {.msg_name = &elsewhere, .msg_namelen = sizeof(elsewhere), .msg_iov = parts,
                             .msg_iovlen = 2};
    tell("sendmsg", sendmsg(fd, &message, 0));
    tell_bool("sendmsg: echo", reads(fd, "def"));
    struct mmsghdr several[2] = {{.msg_hdr = message}, {.msg_hdr = message}};
    tell("sendmmsg", sendmmsg(fd, several, 2, 0));
    tell("sendmmsg: bytes", several[1].msg_len);
    tell_bool("sendmmsg: echo", reads(fd, "defdef"));
    struct sockaddr_storage from;
    char buffer[8];
    socklen_t length = sizeof(from);
    (void)!write(fd, "x", 1);
    tell("recvfrom", recvfrom(fd, buffer, sizeof(buffer), 0, (struct sockaddr *)&from, &length));
    tell("recvfrom: address length", length);
    close(fd);
    fd = tcp(0);
    tell("unconnected sendto", sendto(fd, "abc", 3, MSG_NOSIGNAL, NULL, 0));
    close(fd);
}

static void fast_open(void)
{
    struct sockaddr_in echo = at("ECHO"), refused = at("REFUSED");
    int fd = tcp(0);
    tell("fastopen", sendto(fd, "fast", 4, MSG_FASTOPEN, (struct sockaddr *)&echo, sizeof(echo)));
    tell_bool("fastopen: echo", reads(fd, "fast"));
    tell("fastopen: connect", connect_to(fd, "ECHO"));
    close(fd);
    fd = tcp(0);
    const struct sockaddr *nobody = (struct sockaddr *)&refused;
    tell("fastopen refused", sendto(fd, "fast", 4, MSG_FASTOPEN, nobody, sizeof(refused)));
    close(fd);
    fd = tcp(SOCK_NONBLOCK);
    tell("fastopen nonblocking", sendto(fd, "fast", 4, MSG_FASTOPEN, (struct sockaddr *)&echo, sizeof(echo)));
    tell_mask("fastopen nonblocking: events", wait_events(fd, POLLOUT, LONG_MS));
    tell_socket_error("fastopen nonblocking: SO_ERROR", fd);
    close(fd);
    struct iovec part = {"mess", 4};
    struct msghdr message = {.msg_name = &echo, .msg_namelen = sizeof(echo), .msg_iov = &part,
                             .msg_iovlen = 1};
    fd = tcp(0);
    tell("fastopen sendmsg", sendmsg(fd, &message, MSG_FASTOPEN));
    tell_bool("fastopen sendmsg: echo", reads(fd, "mess"));
    close(fd);
}

static void version6(const char *name, const struct in6_addr *host)
{
    char text[64];
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = port("ECHO")}, seen;
    address.sin6_addr = *host;
    socklen_t length = sizeof(seen);
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    snprintf(text, sizeof(text), "%s: connect", name);
    tell(text, connect(fd, (struct sockaddr *)&address, sizeof(address)));
    snprintf(text, sizeof(text), "%s: getpeername", name);
    tell(text, getpeername(fd, (struct sockaddr *)&seen, &length));
    snprintf(text, sizeof(text), "%s: peer, length %d", name, (int)length);
    tell_bool(text, memcmp(&seen, &address, sizeof(seen)) == 0);
    snprintf(text, sizeof(text), "%s: local host", name);
    length = sizeof(seen);
    getsockname(fd, (struct sockaddr *)&seen, &length);
    tell_bool(text, memcmp(&seen.sin6_addr, host, sizeof(*host)) == 0 && seen.sin6_port != 0);
    snprintf(text, sizeof(text), "%s: echo", name);
    tell_bool(text, echoes(fd, "six"));
    close(fd);
}

int main(void)
{
    struct in6_addr mapped;
    inet_pton(AF_INET6, "::ffff:127.0.0.1", &mapped);
    with_address();
    fast_open();
    version6("mapped", &mapped);
    version6("loopback", &in6addr_loopback);
    return 0;
}
