#include "../check.h"

#define URGENT_MS 5000

/* Sends two bytes, then one out of band; tells how the answer, the same the other way, shows itself. */
static void exchange(int fd, const char *text, const char *mark)
{
    char byte[8] = "";
    (void)!write(fd, text + 1, 2);
    tell("send", send(fd, text, 1, MSG_OOB));
    tell("urgent comes", wait_events(fd, POLLPRI, URGENT_MS) & POLLPRI);
    tell("read out of band", recv(fd, byte, 1, MSG_OOB | MSG_DONTWAIT));
    tell_text("it is", byte);
    tell("again", recv(fd, byte, 1, MSG_OOB | MSG_DONTWAIT));
    tell(mark, sockatmark(fd));
    memset(byte, 0, sizeof(byte));
    tell("before it", recv(fd, byte, sizeof(byte), 0));
    tell_text("they are", byte);
    tell("at the mark now", sockatmark(fd));
}

static void in_line(int fd, const char *text)
{
    char byte[8] = "";
    int on = 1;
    tell("OOBINLINE", setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on)));
    (void)!write(fd, text + 1, 2);
    tell("send", send(fd, text, 1, MSG_OOB));
    tell("urgent comes", wait_events(fd, POLLPRI, URGENT_MS) & POLLPRI);
    tell("read out of band", recv(fd, byte, 1, MSG_OOB | MSG_DONTWAIT));
    tell("before it", recv(fd, byte, sizeof(byte), 0));
    tell_text("they are", byte);
    tell("at the mark", sockatmark(fd));
    memset(byte, 0, sizeof(byte));
    tell("in line", recv(fd, byte, 1, 0));
    tell_text("it is", byte);
    tell("at the mark now", sockatmark(fd));
}

int main(void)
{
    char byte;
    int fd = connected_to("URGENT");
    tell("none yet", recv(fd, &byte, 1, MSG_OOB | MSG_DONTWAIT));
    tell("no mark", sockatmark(fd));
    exchange(fd, "Xab", "at the mark");
    exchange(fd, "Ycd", "at the mark of the second");
    exchange(fd, "Zef", "at the mark of the third");
    tell_bool("echo", echoes(fd, "afterwards"));
    close(fd);
    fd = connected_to("URGENT");
    in_line(fd, "Xab");
    in_line(fd, "Ycd");
    close(fd);
    return 0;
}
