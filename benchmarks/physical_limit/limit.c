/* The physical limit: the least a durable batch can cost on this machine, whatever the language.
 *
 * The same bytes are copied through a loopback socket, gunzipped by libdeflate, written to an append-only file and
 * fdatasynced in groups; one byte acknowledges each. No HTTP (a request is a four-byte length and the body), no token,
 * no check of any value. Two threads, as in the services it stands under: one receives and gunzips, one syncs.
 *
 * limit PORT FILE GATHER_US. Prints `ready` when it listens. Linux only.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <arpa/inet.h>
#include <libdeflate.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 1024, BODY_MAX_BYTES = 256 * 1024, PAYLOAD_MAX_BYTES = 1024 * 1024 };

typedef struct { int fd; uint32_t length; size_t received; char *buffer; } Connection;

static Connection *connections[65536]; /* by descriptor */
static Connection *group[CONNECTIONS_MAX];
static int group_size, log_fd, gather_us;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER;

static void die(const char *what) { fprintf(stderr, "limit: %s: %s\n", what, strerror(errno)); exit(1); }

static void *sync_for_ever(void *unused) {
    (void)unused;
    Connection *taken[CONNECTIONS_MAX];
    struct iovec parts[CONNECTIONS_MAX];
    for (;;) {
        pthread_mutex_lock(&lock);
        while (!group_size) pthread_cond_wait(&wake, &lock);
        pthread_mutex_unlock(&lock);
        if (gather_us) usleep((useconds_t)gather_us);
        pthread_mutex_lock(&lock);
        int count = group_size;
        memcpy(taken, group, (size_t)count * sizeof *taken);
        group_size = 0;
        pthread_mutex_unlock(&lock);
        size_t total = 0;
        for (int i = 0; i < count; i++) {
            parts[i] = (struct iovec){taken[i]->buffer, 4 + taken[i]->length};
            total += parts[i].iov_len;
        }
        if (writev(log_fd, parts, count) != (ssize_t)total || fdatasync(log_fd)) die("log");
        for (int i = 0; i < count; i++) {
            Connection *c = taken[i];
            c->received = 0; /* the sender waits for this byte: nobody else touches the buffer */
            if (send(c->fd, "+", 1, MSG_NOSIGNAL) < 0 && errno != EPIPE && errno != ECONNRESET && errno != EBADF) die("send");
        }
    }
    return NULL;
}

static void on_readable(Connection *c, struct libdeflate_decompressor *inflater, char *payload) {
    for (;;) {
        ssize_t got = recv(c->fd, c->buffer + c->received, BODY_MAX_BYTES - c->received, 0);
        if (got < 0 && errno == EAGAIN) return;
        if (got <= 0) { connections[c->fd] = NULL; close(c->fd); return; } /* leaks one buffer a connection */
        c->received += (size_t)got;
        if (c->received < 4) continue;
        memcpy(&c->length, c->buffer, 4);
        if (c->length > BODY_MAX_BYTES - 4) die("a body too large");
        if (c->received < 4 + c->length) continue;
        size_t size;
        if (libdeflate_gzip_decompress(inflater, c->buffer + 4, c->length, payload, PAYLOAD_MAX_BYTES, &size)) die("gunzip");
        pthread_mutex_lock(&lock);
        group[group_size++] = c;
        if (group_size == 1) pthread_cond_signal(&wake);
        pthread_mutex_unlock(&lock);
        return;
    }
}

int main(int argc, char **argv) {
    if (argc != 4) { fprintf(stderr, "usage: limit PORT FILE GATHER_US\n"); return 2; }
    gather_us = atoi(argv[3]);
    log_fd = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    if (log_fd < 0) die(argv[2]);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1, epoll_fd = epoll_create1(0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1]))};
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 1024)) die("listen");
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[256];
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event);
    pthread_t syncer;
    pthread_create(&syncer, NULL, sync_for_ever, NULL);
    struct libdeflate_decompressor *inflater = libdeflate_alloc_decompressor();
    char *payload = malloc(PAYLOAD_MAX_BYTES);
    puts("ready");
    fflush(stdout);
    for (;;) {
        int ready = epoll_wait(epoll_fd, events, 256, -1);
        for (int i = 0; i < ready; i++) {
            if (events[i].data.fd != listener) {
                if (connections[events[i].data.fd]) on_readable(connections[events[i].data.fd], inflater, payload);
                continue;
            }
            int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
            if (fd < 0) continue;
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            Connection *c = calloc(1, sizeof *c);
            *c = (Connection){.fd = fd, .buffer = malloc(BODY_MAX_BYTES)};
            connections[fd] = c;
            event = (struct epoll_event){.events = EPOLLIN, .data.fd = fd};
            epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
        }
    }
}
