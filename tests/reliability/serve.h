/* SPDX-License-Identifier: Apache-2.0
 *
 * serve.h - what trials.c and at.c say to fault.c, which runs a tool's main in a child for each call, so that
 * its libraries are loaded once.
 *
 * Through a SOCK_SEQPACKET pair, one call at a time: a serve_call; with filters the child answers with the
 * descriptor at which it is asked about; at the end comes its status, an int of waitpid.
 */
#ifndef WAN_TESTS_SERVE_H
#define WAN_TESTS_SERVE_H

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

/* What fails, as FAULT, FAULT_BY and FAULT_AT say it; and the calls to the kernel that are asked about. */
typedef struct serve_call {
    char kind[16], by[64];
    long at;
    unsigned short filters;
    struct sock_filter filter[96];
} serve_call;

/* Sends a descriptor, or (fd -1) receives one; -1. */
static inline int serve_pass(int s, int fd)
{
    char byte = 0;
    union {
        struct cmsghdr h;
        char room[CMSG_SPACE(sizeof(int))];
    } u = { 0 };
    struct iovec v = { &byte, 1 };
    struct msghdr m = {
        .msg_iov = &v, .msg_iovlen = 1, .msg_control = &u, .msg_controllen = sizeof u
    };
    if (fd < 0)
        return recvmsg(s, &m, MSG_CMSG_CLOEXEC) == 1 && CMSG_FIRSTHDR(&m)
                   ? *(int *)(void *)CMSG_DATA(CMSG_FIRSTHDR(&m))
                   : -1;
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    *c = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int)),
                           .cmsg_level = SOL_SOCKET,
                           .cmsg_type = SCM_RIGHTS };
    memcpy(CMSG_DATA(c), &fd, sizeof fd);
    return sendmsg(s, &m, 0) < 0 ? -1 : 0;
}

#endif
