#include "../check.h"

static void send_descriptor(int over, int fd)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } ancillary = {.header = {.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET,
                              .cmsg_type = SCM_RIGHTS}};
    char byte = 'x';
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &ancillary,
                             .msg_controllen = sizeof(ancillary.bytes)};
    memcpy(CMSG_DATA(&ancillary.header), &fd, sizeof(fd));
    (void)!sendmsg(over, &message, 0);
}

static int receive_descriptor(int over)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } ancillary;
    char byte;
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &ancillary,
                             .msg_controllen = sizeof(ancillary.bytes)};
    int fd = -1;
    if (recvmsg(over, &message, 0) == 1 && CMSG_FIRSTHDR(&message) != NULL)
        memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
    return fd;
}

static bool peer_is(int fd, const char *kind)
{
    struct sockaddr_in address = {0};
    socklen_t length = sizeof(address);
    return getpeername(fd, (struct sockaddr *)&address, &length) == 0 && address.sin_family == AF_INET
           && address.sin_port == port(kind);
}

static void copies(void)
{
    int fd = connected_to("ECHO"), copy = dup(fd);
    tell_bool("dup: peer", peer_is(copy, "ECHO"));
    tell_bool("dup: echo", echoes(copy, "through the copy"));
    close(fd);
    tell_bool("dup: echo after close of the first", echoes(copy, "alone"));
    int moved = dup2(copy, 77);
    close(copy);
    tell_bool("dup2: echo", echoes(moved, "moved"));
    tell("dup2: connect", connect_to(moved, "ECHO"));
    close(moved);
}

static void copy_before(void)
{
    struct sockaddr_in address;
    socklen_t length = sizeof(address);
    int fd = tcp(0), copy = dup(fd);
    tell("dup before: connect", connect_to(fd, "ECHO"));
    tell_bool("dup before: echo", echoes(fd, "original"));
    tell("dup before: copy connected", getpeername(copy, (struct sockaddr *)&address, &length));
    tell("dup before: connect by the copy", connect_to(copy, "ECHO"));
    close(copy);
    close(fd);
}

static void children(void)
{
    int fd = connected_to("ECHO"), status = 0;
    pid_t child = fork();
    if (child == 0)
        _exit(peer_is(fd, "ECHO") && echoes(fd, "child") ? 0 : 1);
    waitpid(child, &status, 0);
    tell("fork: child", WEXITSTATUS(status));
    tell_bool("fork: parent after it", echoes(fd, "parent"));
    close(fd);

    int pair[2];
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    child = fork();
    if (child == 0) {
        int mine = connected_to("ECHO");
        send_descriptor(pair[1], mine);
        _exit(0);
    }
    fd = receive_descriptor(pair[0]);
    waitpid(child, &status, 0);
    tell_bool("passed: peer", peer_is(fd, "ECHO"));
    tell_bool("passed: echo", echoes(fd, "from a child that is gone"));
    close(fd);

    /* A program that we start with the connection as its input and output. */
    fd = connected_to("ECHO");
    (void)!write(fd, "line\n", 5);
    child = fork();
    if (child == 0) {
        dup2(fd, 0);
        close(fd);
        execlp("head", "head", "-n1", (char *)NULL);
        _exit(127);
    }
    waitpid(child, &status, 0);
    tell("exec: head", WEXITSTATUS(status));
    close(fd);
}

/* A stranger's Unix socket with a name like ours stays a Unix socket. */
static void stranger(void)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX}, seen;
    static const char text[] = "kwik1|0000000000000000000000|1000000000|1000000000";
    memcpy(name.sun_path + 1, text, sizeof(text) - 1);
    socklen_t length = offsetof(struct sockaddr_un, sun_path) + sizeof(text);
    int listener = socket(AF_UNIX, SOCK_STREAM, 0), fd = socket(AF_UNIX, SOCK_STREAM, 0);
    tell("stranger: bind", bind(listener, (struct sockaddr *)&name, length));
    tell("stranger: listen", listen(listener, 1));
    tell("stranger: connect", connect(fd, (struct sockaddr *)&name, length));
    int accepted = accept(listener, NULL, NULL);
    socklen_t size = sizeof(seen);
    tell("stranger: getpeername", getpeername(fd, (struct sockaddr *)&seen, &size));
    tell("stranger: family", seen.sun_family);
    close(accepted);
    close(fd);
    close(listener);
}

int main(void)
{
    copies();
    copy_before();
    children();
    stranger();
    return 0;
}
