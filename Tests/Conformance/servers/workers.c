#include "visit.h"

#include <pthread.h>

#define WORKERS 4
#define VISITS 24

/* Reads who the client is to be, and answers whether that is who it is. */
static void serve(int fd, const struct sockaddr_in *told)
{
    struct sockaddr_in client;
    if (!read_exactly(fd, &client, sizeof(client)))
        return;
    char answer = same(told, &client) && knows(fd, &client) ? 'y' : 'n';
    (void)!write(fd, &answer, 1);
    close(fd);
}

static void accept_for_ever(int fd)
{
    for (;;) {
        struct sockaddr_in told;
        socklen_t length = sizeof(told);
        int accepted = accept(fd, (struct sockaddr *)&told, &length);
        if (accepted >= 0)
            serve(accepted, &told);
    }
}

static void *thread(void *argument)
{
    accept_for_ever(*(int *)argument);
    return NULL;
}

static void ask_all(const char *name, const struct sockaddr_in *at)
{
    int clients[VISITS], right = 0;
    for (int i = 0; i < VISITS; i++) {
        struct sockaddr_in own;
        socklen_t length = sizeof(own);
        clients[i] = tcp(0);
        if (connect(clients[i], (const struct sockaddr *)at, sizeof(*at)) != 0)
            continue;
        getsockname(clients[i], (struct sockaddr *)&own, &length);
        (void)!write(clients[i], &own, sizeof(own));
    }
    for (int i = 0; i < VISITS; i++) {
        char answer = '?';
        right += read_exactly(clients[i], &answer, 1) && answer == 'y';
        close(clients[i]);
    }
    tell(name, right);
}

static void end(const pid_t *workers)
{
    for (int i = 0; i < WORKERS; i++) {
        kill(workers[i], SIGKILL);
        waitpid(workers[i], NULL, 0);
    }
}

static void forked(void)
{
    struct sockaddr_in at;
    pid_t workers[WORKERS];
    int fd = listener(&at);
    for (int i = 0; i < WORKERS; i++) {
        workers[i] = fork();
        if (workers[i] == 0)
            accept_for_ever(fd);
    }
    ask_all("workers that share a listener", &at);
    end(workers);
    close(fd);
}

static void share_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t length = sizeof(at);
    pid_t workers[WORKERS];
    int fds[WORKERS], yes = 1;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int i = 0; i < WORKERS; i++) {
        fds[i] = tcp(0);
        setsockopt(fds[i], SOL_SOCKET, SO_REUSEPORT, &yes, sizeof(yes));
        if (bind(fds[i], (struct sockaddr *)&at, sizeof(at)) != 0 || listen(fds[i], 16) != 0)
            tell("SO_REUSEPORT", -1);
        getsockname(fds[i], (struct sockaddr *)&at, &length);
    }
    for (int i = 0; i < WORKERS; i++) {
        workers[i] = fork();
        if (workers[i] == 0)
            accept_for_ever(fds[i]);
        close(fds[i]);
    }
    ask_all("workers that share a port", &at);
    end(workers);
}

static void threads(void)
{
    static int fd;
    struct sockaddr_in at;
    pthread_t ids[WORKERS];
    fd = listener(&at);
    for (int i = 0; i < WORKERS; i++)
        pthread_create(&ids[i], NULL, thread, &fd);
    ask_all("threads", &at);
    for (int i = 0; i < WORKERS; i++) {
        pthread_cancel(ids[i]);
        pthread_join(ids[i], NULL);
    }
    close(fd);
}

static int passed_on(int fd)
{
    int pair[2], got = -1;
    char byte = 0, room[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = room,
                             .msg_controllen = sizeof(room)};
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
        return -1;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &fd, sizeof(int));
    if (sendmsg(pair[0], &message, 0) == 1 && recvmsg(pair[1], &message, 0) == 1)
        memcpy(&got, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(int));
    close(pair[0]);
    close(pair[1]);
    return got;
}

static void handed_on(const char *self)
{
    struct sockaddr_in at, client;
    char number[16], port[16];
    int fd = listener(&at), status = -1;
    client = visit(&at, stay);
    int accepted = accept(fd, NULL, NULL);
    int copy = dup(accepted), passed = passed_on(accepted);
    tell_bool("dup", knows(copy, &client));
    tell_bool("SCM_RIGHTS", knows(passed, &client));
    pid_t child = fork();
    if (child == 0)
        _exit(knows(accepted, &client) ? 0 : 1);
    waitpid(child, &status, 0);
    tell("fork", status);
    snprintf(number, sizeof(number), "%d", accepted);
    snprintf(port, sizeof(port), "%d", client.sin_port);
    child = fork();
    if (child == 0) {
        execl(self, self, number, port, NULL);
        _exit(2);
    }
    waitpid(child, &status, 0);
    tell("exec", status);
    close(accepted);
    close(copy);
    close(passed);
    close(fd);
}

/* After exec: the descriptor's number, and the port that its client has. */
static int inherited(char **words)
{
    struct sockaddr_in client = {.sin_family = AF_INET, .sin_port = (in_port_t)atoi(words[2])};
    client.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return knows(atoi(words[1]), &client) ? 0 : 1;
}

static void bytes(void)
{
    struct sockaddr_in at;
    char buffer[16];
    int fd = listener(&at);
    struct sockaddr_in client = visit(&at, send_and_stay);
    int accepted = accept(fd, NULL, NULL), yes = 1, count = -1;
    tell_bool("data", read_exactly(accepted, buffer, 5) && memcmp(buffer, "hello", 5) == 0);
    tell("MSG_DONTWAIT", recv(accepted, buffer, 1, MSG_DONTWAIT));
    tell("TCP_NODELAY", setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes)));
    tell("SO_ZEROCOPY", setsockopt(accepted, SOL_SOCKET, SO_ZEROCOPY, &yes, sizeof(yes)));
    tell("FIONREAD", ioctl(accepted, FIONREAD, &count));
    tell("FIONREAD: bytes", count);
    tell("shutdown", shutdown(accepted, SHUT_WR));
    tell("the client's end", read(accepted, buffer, 1));
    tell_bool("no longer connected", !knows(accepted, &client));
    close(accepted);
    close(fd);
}

int main(int count, char **words)
{
    if (count == 3)
        return inherited(words);
    forked();
    share_port();
    threads();
    handed_on("/proc/self/exe");
    bytes();
    return 0;
}
