#define _GNU_SOURCE
#include "CLinux.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

_Static_assert(sizeof(struct sockaddr_in6) == sizeof(((struct kwik_route *)0)->source), "room for both");

static int open_netlink(unsigned groups) {
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0)
        return -errno;
    struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = groups};
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    return fd;
}

int kwik_netlink_watch(void) {
    int fd = open_netlink(RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE
                          | RTMGRP_IPV6_ROUTE | RTMGRP_IPV4_RULE);
    if (fd < 0)
        return fd;
    int group = RTNLGRP_IPV6_RULE;
    if (setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) < 0 && errno != EINVAL) {
        int error = errno;
        close(fd);
        return -error;
    }
    return fd;
}

int kwik_netlink_drain(int fd) {
    char scratch[16384];
    int news = 0;
    for (;;) {
        ssize_t count = recv(fd, scratch, sizeof scratch, MSG_DONTWAIT);
        // ENOBUFS: more came than the socket holds, which is news as well.
        if (count >= 0 || errno == ENOBUFS)
            news = 1;
        else if (errno != EINTR)
            return news;
    }
}

struct route_request {
    struct nlmsghdr header;
    struct rtmsg route;
    char attributes[128];
};

static void add_attribute(struct route_request *request, unsigned short type, const void *data,
                          size_t count) {
    struct rtattr *attribute = (struct rtattr *)((char *)request + NLMSG_ALIGN(request->header.nlmsg_len));
    attribute->rta_type = type;
    attribute->rta_len = (unsigned short)RTA_LENGTH(count);
    memcpy(RTA_DATA(attribute), data, count);
    request->header.nlmsg_len = NLMSG_ALIGN(request->header.nlmsg_len) + RTA_ALIGN(attribute->rta_len);
}

static const void *host_of(const struct sockaddr *address, size_t *count) {
    if (address->sa_family == AF_INET) {
        *count = 4;
        return &((const struct sockaddr_in *)address)->sin_addr;
    }
    *count = 16;
    return &((const struct sockaddr_in6 *)address)->sin6_addr;
}

static int read_route(const struct nlmsghdr *header, int family, struct kwik_route *found) {
    if (header->nlmsg_type == NLMSG_ERROR) {
        const struct nlmsgerr *failure = NLMSG_DATA(header);
        return failure->error < 0 ? failure->error : -EPROTO;
    }
    if (header->nlmsg_type != RTM_NEWROUTE)
        return -EPROTO;
    const struct rtmsg *route = NLMSG_DATA(header);
    found->is_local = route->rtm_type == RTN_LOCAL;
    if (route->rtm_type != RTN_UNICAST && route->rtm_type != RTN_LOCAL)
        return -EHOSTUNREACH;
    int left = (int)RTM_PAYLOAD(header);
    for (const struct rtattr *each = RTM_RTA(route); RTA_OK(each, left); each = RTA_NEXT(each, left)) {
        if (each->rta_type == RTA_OIF && RTA_PAYLOAD(each) == sizeof(uint32_t)) {
            memcpy(&found->interface, RTA_DATA(each), sizeof(uint32_t));
        } else if (each->rta_type == RTA_PREFSRC && family == AF_INET && RTA_PAYLOAD(each) == 4) {
            struct sockaddr_in source = {.sin_family = AF_INET};
            memcpy(&source.sin_addr, RTA_DATA(each), 4);
            memcpy(found->source, &source, sizeof source);
        } else if (each->rta_type == RTA_PREFSRC && family == AF_INET6 && RTA_PAYLOAD(each) == 16) {
            struct sockaddr_in6 source = {.sin6_family = AF_INET6};
            memcpy(&source.sin6_addr, RTA_DATA(each), 16);
            memcpy(found->source, &source, sizeof source);
        }
    }
    return 0;
}

int kwik_route_find(const void *to, const void *from, uint32_t interface, int exact,
                    struct kwik_route *found) {
    int family = ((const struct sockaddr *)to)->sa_family;
    struct route_request request;
    union {
        struct nlmsghdr header;
        char bytes[8192];
    } answer;
    size_t count;
    memset(&request, 0, sizeof request);
    memset(found, 0, sizeof *found);
    request.header.nlmsg_len = NLMSG_LENGTH(sizeof request.route);
    request.header.nlmsg_type = RTM_GETROUTE;
    request.header.nlmsg_flags = NLM_F_REQUEST;
    request.route.rtm_family = (unsigned char)family;
    request.route.rtm_flags = exact ? RTM_F_FIB_MATCH : 0;
    const void *host = host_of(to, &count);
    request.route.rtm_dst_len = (unsigned char)(8 * count);
    add_attribute(&request, RTA_DST, host, count);
    if (from) {
        host = host_of(from, &count);
        request.route.rtm_src_len = (unsigned char)(8 * count);
        add_attribute(&request, RTA_SRC, host, count);
    }
    if (interface)
        add_attribute(&request, RTA_OIF, &interface, sizeof interface);

    int fd = open_netlink(0);
    if (fd < 0)
        return fd;
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    int result = 0;
    // The kernel answers before sendto returns.
    if (sendto(fd, &request, request.header.nlmsg_len, 0, (struct sockaddr *)&kernel, sizeof kernel) < 0) {
        result = -errno;
    } else {
        ssize_t got = recv(fd, &answer, sizeof answer, MSG_DONTWAIT);
        if (got < 0)
            result = -errno;
        else if (!NLMSG_OK(&answer.header, (size_t)got))
            result = -EPROTO;
        else
            result = read_route(&answer.header, family, found);
    }
    close(fd);
    return result;
}
