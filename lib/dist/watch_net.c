/* SPDX-License-Identifier: Apache-2.0
 *
 * watch_net.c - the connections of the watching threads: rank 0 listens, the others come.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/dist/watch_priv.h"

#define MAGIC 0x57414e77u

/* Where rank 0 can be reached; shared through MPI. */
typedef struct where_hub {
    unsigned char token[WATCH_TOKEN];
    char host[WATCH_HOST];
    int n, port, failed;
    struct {
        sa_family_t family;
        struct in6_addr v6;
        struct in_addr v4;
        uint32_t scope;
    } a[WATCH_ADDRESSES];
} where_hub;

/* ---- frames */

void wan_watch_frame(const wan_watch *w, watch_frame *f, enum frame_type t)
{
    memset(f, 0, sizeof *f);
    f->magic = MAGIC;
    f->type = t;
    f->rank = w->rank;
    f->about = -1;
    f->pid = w->pid;
    memcpy(f->host, w->host, sizeof f->host);
}

int wan_watch_send(watch_peer *p, const watch_frame *f)
{
    if (p->fd < 0 || p->muted)
        return -1;
    ssize_t n = send(p->fd, f, sizeof *f, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n == (ssize_t)sizeof *f)
        return 0;
    /* megabytes of beats that nobody reads: half a frame more would only confuse */
    p->muted = n >= 0 || errno != EAGAIN;
    return -1;
}

int wan_watch_recv(watch_peer *p)
{
    char *to = (char *)&p->in;
    ssize_t n = recv(p->fd, to + p->got, sizeof p->in - p->got, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n <= 0)
        return -1;
    p->got += (size_t)n;
    if (p->got < sizeof p->in)
        return 0;
    p->got = 0;
    p->in.host[WATCH_HOST - 1] = p->in.text[WAN_WATCH_TEXT - 1] = 0;
    return p->in.magic == MAGIC ? 1 : -1;
}

/* Waits for a whole frame; 0, or -1 after `seconds` or at the end of the connection. */
static int recv_within(watch_peer *p, double seconds)
{
    double until = wan_now() + seconds;
    for (;;) {
        struct pollfd f = { p->fd, POLLIN, 0 };
        double left = until - wan_now();
        if (left <= 0 || (poll(&f, 1, (int)(left * 1000) + 1) < 0 && errno != EINTR))
            return -1;
        int rc = f.revents ? wan_watch_recv(p) : 0;
        if (rc)
            return rc < 0 ? -1 : 0;
    }
}

static void set_options(int fd)
{
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
}

/* ---- rank 0 */

/* Addresses of this machine that others may reach; loopback last, for ranks beside us. */
static void list_addresses(where_hub *h)
{
    struct ifaddrs *all = NULL;
    if (getifaddrs(&all) < 0)
        return;
    for (int loop = 0; loop < 2; loop++)
        for (const struct ifaddrs *i = all; i && h->n < WATCH_ADDRESSES; i = i->ifa_next) {
            int family = i->ifa_addr ? i->ifa_addr->sa_family : AF_UNSPEC;
            if ((family != AF_INET && family != AF_INET6) || !(i->ifa_flags & IFF_UP) ||
                !(i->ifa_flags & IFF_LOOPBACK) != !loop)
                continue;
            h->a[h->n].family = (sa_family_t)family;
            if (family == AF_INET) {
                h->a[h->n++].v4 = ((const struct sockaddr_in *)(const void *)i->ifa_addr)->sin_addr;
            } else {
                const struct sockaddr_in6 *s =
                    (const struct sockaddr_in6 *)(const void *)i->ifa_addr;
                h->a[h->n].scope = s->sin6_scope_id;
                h->a[h->n++].v6 = s->sin6_addr;
            }
        }
    freeifaddrs(all);
}

/* A socket for IPv6 and IPv4, or for IPv4 where the machine has no other. */
static int open_listener(where_hub *h)
{
    struct sockaddr_in6 six = { .sin6_family = AF_INET6 };
    struct sockaddr_in four = { .sin_family = AF_INET };
    int off = 0, fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t n = sizeof six;
    if (fd >= 0 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) == 0 &&
        bind(fd, (struct sockaddr *)&six, sizeof six) == 0 && listen(fd, 1024) == 0 &&
        getsockname(fd, (struct sockaddr *)&six, &n) == 0) {
        h->port = ntohs(six.sin6_port);
        return fd;
    }
    if (fd >= 0)
        close(fd);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    n = sizeof four;
    if (fd >= 0 && bind(fd, (struct sockaddr *)&four, sizeof four) == 0 && listen(fd, 1024) == 0 &&
        getsockname(fd, (struct sockaddr *)&four, &n) == 0) {
        h->port = ntohs(four.sin_port);
        return fd;
    }
    if (fd >= 0)
        close(fd);
    return wan_err_errno("rank 0 on %s cannot listen for the other ranks", h->host);
}

/* A thousand ranks are as many connections. */
static void raise_limit(int size)
{
    struct rlimit l;
    rlim_t want = (rlim_t)size + 256;
    if (getrlimit(RLIMIT_NOFILE, &l) < 0 || l.rlim_cur >= want)
        return;
    l.rlim_cur = l.rlim_max < want ? l.rlim_max : want;
    setrlimit(RLIMIT_NOFILE, &l);
}

/* A stranger, or the rank that the hello names; -1 when that rank is another program. */
static int admit(wan_watch *w, const where_hub *h, const char *identity, int fd)
{
    watch_peer p = { .fd = fd };
    if (recv_within(&p, 5) < 0 || p.in.type != FRAME_HELLO || p.in.rank < 1 ||
        p.in.rank >= w->size || memcmp(p.in.token, h->token, WATCH_TOKEN) ||
        w->peer[p.in.rank - 1].fd >= 0) {
        close(fd);
        return 0;
    }
    watch_peer *mine = &w->peer[p.in.rank - 1];
    *mine = (watch_peer){ .fd = fd, .rank = p.in.rank, .pid = p.in.pid };
    memcpy(mine->host, p.in.host, sizeof mine->host);
    if (!strcmp(p.in.text, identity))
        return 1;
    return wan_err("rank %d on %s runs %s, rank 0 on %s runs %s", mine->rank, mine->host, p.in.text,
                   w->host, identity);
}

static int all_come(wan_watch *w, const where_hub *h, const char *identity, int listener)
{
    double silent = 0, last = wan_now();
    for (int come = 0; come < w->n_peers;) {
        struct pollfd f = { listener, POLLIN, 0 };
        int ready = poll(&f, 1, 100);
        double now = wan_now();
        silent += now - last < 0.5 ? now - last : 0.5;
        last = now;
        if (ready > 0) {
            int fd = accept(listener, NULL, NULL),
                rc = fd < 0 ? 0 : (set_options(fd), admit(w, h, identity, fd));
            WAN_TRY(rc);
            come += rc;
            silent = rc ? 0 : silent;
        }
        for (int i = 0; silent > w->dead && i < w->n_peers; i++)
            if (w->peer[i].fd < 0)
                return wan_err(
                    "rank %d has not come to rank 0 on %s for %.0f seconds: it was stopped "
                    "or killed, or its machine cannot reach this one by TCP",
                    i + 1, w->host, silent);
    }
    return 0;
}

static int hub_connect(wan_watch *w, const char *identity, where_hub *h, wan_watch_share_fn *share,
                       void *arg)
{
    int listener = open_listener(h), rc;
    h->failed = listener < 0 || getrandom(h->token, sizeof h->token, 0) != sizeof h->token;
    list_addresses(h);
    raise_limit(w->size);
    rc = share(arg, h, sizeof *h);
    if (rc == 0 && h->failed)
        rc = listener < 0 ? -1 : wan_err_errno("random numbers");
    if (rc == 0)
        rc = all_come(w, h, identity, listener);
    if (listener >= 0)
        close(listener);
    if (h->failed)
        return -1;
    watch_frame f;
    wan_watch_frame(w, &f, rc < 0 ? FRAME_LOST : FRAME_WELCOME);
    if (rc < 0)
        strncpy(f.text, wan_err_text(), sizeof f.text - 1);
    for (int i = 0; i < w->n_peers; i++)
        wan_watch_send(&w->peer[i], &f);
    return rc;
}

/* ---- the others */

static int try_address(const where_hub *h, int i, double seconds)
{
    struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)h->port) };
    struct sockaddr_in four = { .sin_family = AF_INET, .sin_port = htons((uint16_t)h->port) };
    int v6 = h->a[i].family == AF_INET6, error = 0, fd;
    socklen_t n = sizeof error;
    six.sin6_addr = h->a[i].v6;
    six.sin6_scope_id = h->a[i].scope;
    four.sin_addr = h->a[i].v4;
    fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    int rc = connect(fd, v6 ? (struct sockaddr *)&six : (struct sockaddr *)&four,
                     v6 ? sizeof six : sizeof four);
    struct pollfd f = { fd, POLLOUT, 0 };
    if (rc < 0 && errno == EINPROGRESS && poll(&f, 1, (int)(seconds * 1000)) == 1 &&
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n) == 0 && !(errno = error))
        rc = 0;
    if (rc == 0) {
        set_options(fd);
        return fd;
    }
    close(fd);
    return -1;
}

static int reach_hub(wan_watch *w, const where_hub *h)
{
    int local = !strcmp(h->host, w->host), fd = -1;
    if (h->failed)
        return wan_err("rank 0 on %s cannot listen for the other ranks", h->host);
    for (int turn = 0; turn < 2 && fd < 0; turn++)
        for (int i = 0; i < h->n && fd < 0; i++) /* loopback stands last */
            fd = try_address(h, local ? h->n - 1 - i : i, turn ? 5 : 1);
    if (fd < 0)
        return wan_err_errno(
            "rank %d on %s cannot reach rank 0 on %s by TCP (port %d of %d addresses)", w->rank,
            w->host, h->host, h->port, h->n);
    return fd;
}

static int spoke_connect(wan_watch *w, const char *identity, where_hub *h,
                         wan_watch_share_fn *share, void *arg)
{
    watch_frame f;
    watch_peer *hub = &w->peer[0];
    WAN_TRY(share(arg, h, sizeof *h));
    int fd = reach_hub(w, h);
    WAN_TRY(fd);
    *hub = (watch_peer){ .fd = fd };
    memcpy(hub->host, h->host, sizeof hub->host);
    wan_watch_frame(w, &f, FRAME_HELLO);
    memcpy(f.token, h->token, sizeof f.token);
    strncpy(f.text, identity, sizeof f.text - 1);
    /* rank 0 waits `dead` for each rank that does not come, and then says so */
    if (wan_watch_send(hub, &f) < 0 || recv_within(hub, w->dead * 2 + 10) < 0)
        return wan_err(
            "rank 0 on %s does not welcome rank %d on %s: it was stopped or killed, or has "
            "failed with a sentence of its own",
            h->host, w->rank, w->host);
    if (hub->in.type == FRAME_LOST)
        return wan_err("%s", hub->in.text);
    hub->pid = hub->in.pid;
    return hub->in.type == FRAME_WELCOME ? 0
                                         : wan_err("rank 0 on %s speaks another language", h->host);
}

int wan_watch_connect(wan_watch *w, int rank, int size, const char *identity,
                      wan_watch_share_fn *share, void *arg)
{
    where_hub h;
    memset(&h, 0, sizeof h);
    memcpy(h.host, w->host, sizeof h.host);
    int n = rank == 0 ? size - 1 : 1;
    watch_peer *peer = wan_calloc((size_t)n + 1, sizeof *peer, "connections");
    if (!peer)
        return -1;
    for (int i = 0; i < n; i++)
        peer[i].fd = -1;
    w->rank = rank;
    w->size = size;
    w->peer = peer;
    w->n_peers = n;
    int rc = rank == 0 ? hub_connect(w, identity, &h, share, arg)
                       : spoke_connect(w, identity, &h, share, arg);
    if (rc < 0)
        return -1;
    pthread_mutex_lock(&w->lock);
    w->connected = 1;
    pthread_mutex_unlock(&w->lock);
    return 0;
}
