#include "../check.h"
#include <sys/uio.h>

static void flags(void)
{
    char buffer[16] = "";
    int fd = connected_to("ECHO");
    tell("DONTWAIT", recv(fd, buffer, 1, MSG_DONTWAIT));
    (void)!write(fd, "abcdef", 6);
    (void)wait_events(fd, POLLIN, LONG_MS);
    tell("WAITALL", recv(fd, buffer, 3, MSG_WAITALL));
    tell("PEEK", recv(fd, buffer, 2, MSG_PEEK));
    tell_text("PEEK: bytes", buffer);
    tell("PEEK and WAITALL", recv(fd, buffer, 3, MSG_PEEK | MSG_WAITALL));
    tell("after PEEK", recv(fd, buffer, 3, MSG_WAITALL));
    tell_text("after PEEK: bytes", buffer);
    tell("MORE", send(fd, "gh", 2, MSG_MORE | MSG_NOSIGNAL));
    tell("after MORE", send(fd, "i", 1, MSG_NOSIGNAL));
    tell("WAITALL over both", recv(fd, buffer, 3, MSG_WAITALL));
    tell_text("WAITALL over both: bytes", buffer);
    close(fd);
    fd = connected_to("GREET");
    tell("WAITALL until the end", recv(fd, buffer, sizeof(buffer), MSG_WAITALL));
    tell("WAITALL at the end", recv(fd, buffer, sizeof(buffer), MSG_WAITALL));
    close(fd);
}

static void vectors(void)
{
    char first[4] = "", second[4] = "";
    struct iovec out[3] = {{"ab", 2}, {"", 0}, {"cdef", 4}}, in[2] = {{first, 3}, {second, 3}};
    int fd = connected_to("ECHO");
    tell("writev", writev(fd, out, 3));
    (void)wait_events(fd, POLLIN, LONG_MS);
    tell("readv", readv(fd, in, 2));
    tell_text("readv: first", first);
    tell_text("readv: second", second);
    close(fd);
}

static void messages(void)
{
    char first[4] = "", second[4] = "";
    struct sockaddr_storage from;
    struct iovec in[2] = {{first, 3}, {second, 3}};
    struct mmsghdr several[2] = {{.msg_hdr = {.msg_iov = &in[0], .msg_iovlen = 1}},
                                 {.msg_hdr = {.msg_iov = &in[1], .msg_iovlen = 1}}};
    struct msghdr message = {.msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = in, .msg_iovlen = 2};
    int fd = connected_to("ECHO");
    (void)!write(fd, "abcdef", 6);
    (void)wait_events(fd, POLLIN, LONG_MS);
    tell("recvmmsg", recvmmsg(fd, several, 2, MSG_WAITFORONE, NULL));
    tell("recvmmsg: bytes", several[0].msg_len + several[1].msg_len);
    tell_text("recvmmsg: first", first);
    tell_text("recvmmsg: second", second);
    (void)!write(fd, "uvwxyz", 6);
    (void)wait_events(fd, POLLIN, LONG_MS);
    tell("recvmsg", recvmsg(fd, &message, 0));
    tell("recvmsg: address length", message.msg_namelen);
    tell("recvmsg: flags", message.msg_flags);
    tell_text("recvmsg: second", second);
    in[0] = (struct iovec){"12", 2};
    in[1] = (struct iovec){"345", 3};
    several[0].msg_len = several[1].msg_len = 0;
    tell("sendmmsg", sendmmsg(fd, several, 2, MSG_NOSIGNAL));
    tell("sendmmsg: bytes", several[0].msg_len + several[1].msg_len);
    char buffer[8] = "";
    tell("sendmmsg: echo", recv(fd, buffer, 5, MSG_WAITALL));
    tell_text("sendmmsg: echoed", buffer);
    close(fd);
}

static void time_outs(void)
{
    static char buffer[65536];
    struct timeval limit = {.tv_usec = SHORT_MS * 1000};
    ssize_t count;
    int fd = connected_to("ECHO");
    tell("RCVTIMEO", setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)));
    tell("RCVTIMEO: nothing", recv(fd, buffer, 1, 0));
    (void)!write(fd, "abc", 3);
    tell("RCVTIMEO: a part of what WAITALL wants", recv(fd, buffer, 10, MSG_WAITALL));
    close(fd);
    fd = connected_to("DEAF");
    tell("SNDTIMEO", setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)));
    while ((count = send(fd, buffer, sizeof(buffer), MSG_NOSIGNAL)) > 0) {
    }
    tell("SNDTIMEO: nobody reads", count);
    close(fd);
}

int main(void)
{
    flags();
    vectors();
    messages();
    time_outs();
    return 0;
}
