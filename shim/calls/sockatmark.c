#include "../kwik.h"

#include <linux/sockios.h>

/* libc's calls its own ioctl, which is not ours. */
KWIK_EXPORT int sockatmark(int fd)
{
    int answer = 0;
    return kwik_ioctl(fd, SIOCATMARK, &answer) < 0 ? -1 : answer;
}
