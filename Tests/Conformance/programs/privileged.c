/* A set-group-ID program (AT_SECURE): it connects, natively, and its starter's shim is not in its way. */
#include "../check.h"
#include <grp.h>
#include <sys/auxv.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

/* A group that is ours to give away and not the one that we run with. */
static gid_t other_group(void)
{
    gid_t groups[64];
    if (getuid() == 0)
        return 65534;
    int count = getgroups(64, groups);
    for (int i = 0; i < count; i++) {
        if (groups[i] != getgid())
            return groups[i];
    }
    fprintf(stderr, "neither root nor in a second group\n");
    exit(2);
}

static void become_another(const char *path)
{
    struct stat status;
    int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    int to = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
    if (from < 0 || to < 0 || fstat(from, &status) != 0
        || sendfile(to, from, NULL, (size_t)status.st_size) != status.st_size
        || fchown(to, (uid_t)-1, other_group()) != 0 || fchmod(to, 02755) != 0) {
        perror(path);
        exit(2);
    }
    close(to);
    close(from);
}

static void connect_and_tell(const char *who)
{
    char text[64];
    int fd = tcp(0);
    snprintf(text, sizeof(text), "%s: AT_SECURE", who);
    tell(text, (long)getauxval(AT_SECURE));
    snprintf(text, sizeof(text), "%s: connect", who);
    tell(text, connect_to(fd, "ECHO"));
    snprintf(text, sizeof(text), "%s: echo", who);
    tell_bool(text, echoes(fd, who));
    close(fd);
}

int main(int count, char **arguments)
{
    char path[64];
    int status = 0;
    if (count > 1) {
        connect_and_tell(arguments[1]);
        return 0;
    }
    connect_and_tell("ordinary");
    snprintf(path, sizeof(path), "/tmp/kwik-conformance-%d", (int)getpid());
    become_another(path);
    pid_t child = fork();
    if (child == 0) {
        execl(path, path, "privileged", (char *)NULL);
        _exit(127);
    }
    waitpid(child, &status, 0);
    unlink(path);
    tell("privileged: exit", WEXITSTATUS(status));
    return 0;
}
