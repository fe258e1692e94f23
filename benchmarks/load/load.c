/* The benchmark's sender: keep-alive connections on one thread, cheap enough not to be what is measured.
 *
 * Posts the bodies of a corpus under the tokens of a list, over HTTP/1.1 (or, with --raw 1, over the four-byte length
 * framing of the physical limit). Two ways: closed (--rate 0: each connection sends as soon as it has its answer) and
 * paced (--rate R: requests fall due at R a second, whatever the answers do; an acknowledgement is timed from when its
 * request was due, so a stall counts against every request it held up).
 *
 * Prints `begin` when the warm-up is over, and at the end one line of JSON: the requests answered between the two, by
 * status, and their times. Linux only (epoll, timerfd).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 1024, ANSWER_MAX_BYTES = 16384, STATUS_MAX = 600 };

typedef struct { const char *bytes; uint32_t length; } Slice;

typedef struct {
    int fd, busy, writing;
    uint32_t index, session, sent_in_session;
    uint64_t sequence;              /* requests this connection has begun */
    int64_t due_ns;                 /* when the request under way was due */
    uint64_t waiting;               /* due and not yet begun; they were due `interval` apart */
    int64_t oldest_waiting_ns;
    char head[4096];
    size_t head_prefix, head_length;
    Slice body;
    size_t written;
    char answer[ANSWER_MAX_BYTES];
    size_t answered;
} Connection;

static Connection connections[CONNECTIONS_MAX];
static Slice *bodies, *tokens;
static uint32_t body_count, token_count, connection_count = 64, batches_per_session;
static const char *extra_headers = "", *path = "/v1/pose/frames";
static int raw, epoll_fd, port;
static double rate;
static uint64_t statuses[STATUS_MAX], measured, retried, finished_connections;
static uint32_t *latencies_us;
static size_t latency_count, latency_capacity;
static int measuring;

static void die(const char *what) { fprintf(stderr, "load: %s: %s\n", what, strerror(errno)); exit(1); }

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static char *slurp(const char *file, size_t *length) {
    FILE *f = fopen(file, "rb");
    if (!f || fseek(f, 0, SEEK_END)) die(file);
    long size = ftell(f);
    rewind(f);
    char *content = malloc((size_t)size + 1);
    if (!content || fread(content, 1, (size_t)size, f) != (size_t)size) die(file);
    content[size] = 0;
    fclose(f);
    *length = (size_t)size;
    return content;
}

/* A corpus is bodies, each after its length as uint32 little-endian. */
static void read_corpus(const char *file) {
    size_t length, position = 0, capacity = 0;
    char *content = slurp(file, &length);
    while (position + 4 <= length) {
        uint32_t size;
        memcpy(&size, content + position, 4);
        if (body_count == capacity) bodies = realloc(bodies, (capacity = capacity * 2 + 64) * sizeof *bodies);
        bodies[body_count++] = (Slice){content + position + 4, size};
        position += 4 + size;
    }
    if (!body_count || position != length) { fprintf(stderr, "load: %s is no corpus\n", file); exit(1); }
}

static void read_tokens(const char *file) {
    size_t length, capacity = 0;
    char *content = slurp(file, &length);
    for (char *line = strtok(content, "\n"); line; line = strtok(NULL, "\n")) {
        if (token_count == capacity) tokens = realloc(tokens, (capacity = capacity * 2 + 64) * sizeof *tokens);
        tokens[token_count++] = (Slice){line, (uint32_t)strlen(line)};
    }
    if (token_count < connection_count) { fprintf(stderr, "load: fewer tokens than connections\n"); exit(1); }
}

static void arm(Connection *c, uint32_t events) {
    struct epoll_event event = {.events = events, .data.u32 = c->index};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &event)) die("epoll_ctl");
}

static void begin_session(Connection *c) {
    c->sent_in_session = 0;
    c->head_prefix = (size_t)snprintf(c->head, sizeof c->head,
        "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAuthorization: Bearer %.*s\r\n"
        "Content-Type: application/octet-stream\r\n%sContent-Length: ",
        path, port, (int)tokens[c->session].length, tokens[c->session].bytes, extra_headers);
    if (c->head_prefix + 16 > sizeof c->head) { fprintf(stderr, "load: headers too long\n"); exit(1); }
}

static void flush(Connection *c) {
    size_t total = c->head_length + c->body.length;
    while (c->written < total) {
        struct iovec parts[2];
        int count = 0;
        if (c->written < c->head_length)
            parts[count++] = (struct iovec){c->head + c->written, c->head_length - c->written};
        size_t into = c->written > c->head_length ? c->written - c->head_length : 0;
        parts[count++] = (struct iovec){(void *)(c->body.bytes + into), c->body.length - into};
        ssize_t sent = writev(c->fd, parts, count);
        if (sent < 0 && errno == EAGAIN) {
            if (!c->writing) arm(c, EPOLLIN | EPOLLOUT);
            c->writing = 1;
            return;
        }
        if (sent < 0) die("writev");
        c->written += (size_t)sent;
    }
    if (c->writing) arm(c, EPOLLIN);
    c->writing = 0;
}

/* Begin the next request; 0 when the sessions are used up. */
static int post(Connection *c, int64_t due_ns) {
    if (batches_per_session && c->sent_in_session == batches_per_session) {
        c->session += connection_count;
        if (c->session >= token_count) { /* done: a server may end an idle connection, so we do */
            finished_connections++;
            close(c->fd);
            return 0;
        }
        begin_session(c);
    }
    uint64_t offset = batches_per_session ? 0 : (uint64_t)c->index * body_count / connection_count;
    uint64_t number = batches_per_session ? c->sent_in_session : c->sequence;
    c->body = bodies[(offset + number) % body_count];
    if (raw) {
        memcpy(c->head, &c->body.length, 4);
        c->head_length = 4;
    } else {
        c->head_length = c->head_prefix + (size_t)sprintf(c->head + c->head_prefix, "%u\r\n\r\n", c->body.length);
    }
    c->sent_in_session++;
    c->sequence++;
    c->written = 0;
    c->answered = 0;
    c->busy = 1;
    c->due_ns = due_ns;
    flush(c);
    return 1;
}

static void record(Connection *c, int status) {
    c->busy = 0;
    if (!measuring) return;
    measured++;
    statuses[status < STATUS_MAX && status >= 0 ? status : 0]++;
    if (latency_count == latency_capacity) {
        latency_capacity = latency_capacity * 2 + 65536;
        latencies_us = realloc(latencies_us, latency_capacity * sizeof *latencies_us);
    }
    latencies_us[latency_count++] = (uint32_t)((now_ns() - c->due_ns) / 1000);
}

/* The status of a complete answer, 0 while there is more to come. */
static int answer_status(Connection *c) {
    if (raw) return c->answered ? 204 : 0;
    c->answer[c->answered] = 0;
    char *end = strstr(c->answer, "\r\n\r\n");
    if (!end) return 0;
    size_t body = 0;
    char *declared = strcasestr(c->answer, "\r\ncontent-length:");
    if (declared && declared < end) body = strtoul(declared + 17, NULL, 10);
    if (c->answered < (size_t)(end + 4 - c->answer) + body) return 0;
    return atoi(c->answer + 9);
}

static void on_readable(Connection *c, int64_t interval_ns) {
    for (;;) {
        ssize_t got = recv(c->fd, c->answer + c->answered, sizeof c->answer - 1 - c->answered, 0);
        if (got < 0 && errno == EAGAIN) return;
        if (got < 0) die("recv");
        if (got == 0) { fprintf(stderr, "load: the server closed a connection\n"); exit(1); }
        c->answered += (size_t)got;
        int status = answer_status(c);
        if (!status) continue;
        if (status == 503 && batches_per_session) { /* as a portal would: every batch must get there */
            retried++;
            c->sent_in_session--;
            c->sequence--;
        } else {
            record(c, status);
        }
        if (rate == 0) {
            post(c, now_ns());
        } else if (c->waiting) {
            c->waiting--;
            int64_t due = c->oldest_waiting_ns;
            c->oldest_waiting_ns += interval_ns * connection_count;
            post(c, due);
        }
        return; /* one answer at a time is under way; epoll is level-triggered */
    }
}

static void connect_all(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    for (uint32_t i = 0; i < connection_count; i++) {
        Connection *c = &connections[i];
        int on = 1;
        c->index = c->session = i;
        c->fd = socket(AF_INET, SOCK_STREAM, 0);
        if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof address)) die("connect");
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        fcntl(c->fd, F_SETFL, O_NONBLOCK);
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
        if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &event)) die("epoll_ctl");
        if (!raw) begin_session(c);
    }
}

static int ascending(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static double quantile_ms(double share) {
    return latency_count ? latencies_us[(size_t)(share * (double)(latency_count - 1))] / 1000.0 : 0;
}

static void report(int64_t elapsed_ns, struct rusage *before) {
    struct rusage after;
    getrusage(RUSAGE_SELF, &after);
    double cpu_s = (double)(after.ru_utime.tv_sec - before->ru_utime.tv_sec + after.ru_stime.tv_sec - before->ru_stime.tv_sec)
        + (double)(after.ru_utime.tv_usec - before->ru_utime.tv_usec + after.ru_stime.tv_usec - before->ru_stime.tv_usec) / 1e6;
    qsort(latencies_us, latency_count, sizeof *latencies_us, ascending);
    uint64_t late = 0;
    for (uint32_t i = 0; i < connection_count; i++) late += connections[i].waiting;
    printf("{\"answered\": %llu, \"elapsed_s\": %.6f, \"sender_cpu_s\": %.6f, \"p50_ms\": %.3f, \"p99_ms\": %.3f, "
           "\"still_due\": %llu, \"retried\": %llu, \"statuses\": {", (unsigned long long)measured, (double)elapsed_ns / 1e9, cpu_s,
           quantile_ms(0.5), quantile_ms(0.99), (unsigned long long)late, (unsigned long long)retried);
    const char *comma = "";
    for (int status = 0; status < STATUS_MAX; status++)
        if (statuses[status]) {
            printf("%s\"%d\": %llu", comma, status, (unsigned long long)statuses[status]);
            comma = ", ";
        }
    puts("}}");
}

int main(int argc, char **argv) {
    double warm_s = 1, measure_s = 5;
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *name = argv[i], *value = argv[i + 1];
        if (!strcmp(name, "--port")) port = atoi(value);
        else if (!strcmp(name, "--connections")) connection_count = (uint32_t)atoi(value);
        else if (!strcmp(name, "--corpus")) read_corpus(value);
        else if (!strcmp(name, "--tokens")) read_tokens(value);
        else if (!strcmp(name, "--warm-s")) warm_s = atof(value);
        else if (!strcmp(name, "--measure-s")) measure_s = atof(value);
        else if (!strcmp(name, "--rate")) rate = atof(value);
        else if (!strcmp(name, "--raw")) raw = atoi(value);
        else if (!strcmp(name, "--batches-per-session")) batches_per_session = (uint32_t)atoi(value);
        else if (!strcmp(name, "--headers")) { size_t n; extra_headers = slurp(value, &n); }
        else { fprintf(stderr, "load: unknown option %s\n", name); return 2; }
    }
    if (!port || !body_count || connection_count < 1 || connection_count > CONNECTIONS_MAX || (!raw && !token_count)) {
        fprintf(stderr, "usage: load --port N --connections N --tokens FILE --corpus FILE [--rate R] ...\n");
        return 2;
    }
    epoll_fd = epoll_create1(0);
    connect_all();
    int64_t interval_ns = rate > 0 ? (int64_t)(1e9 / rate) : 0;
    int64_t started = now_ns(), next_due = started + interval_ns, begin_at = started + (int64_t)(warm_s * 1e9);
    int64_t end_at = begin_at + (int64_t)(measure_s * 1e9), measured_from = 0;
    uint64_t scheduled = 0;
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    struct epoll_event timer_event = {.events = EPOLLIN, .data.u32 = CONNECTIONS_MAX}, events[256];
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, timer, &timer_event);
    if (rate == 0)
        for (uint32_t i = 0; i < connection_count; i++) post(&connections[i], now_ns());
    struct rusage before = {0};
    while (finished_connections < connection_count) {
        int64_t now = now_ns();
        if (!measuring && now >= begin_at) {
            getrusage(RUSAGE_SELF, &before);
            puts("begin");
            fflush(stdout);
            measured_from = now;
            measuring = 1;
        }
        if (now >= end_at) break;
        if (rate > 0) {
            for (; next_due <= now; next_due += interval_ns) {
                Connection *c = &connections[scheduled++ % connection_count];
                if (!c->busy) post(c, next_due);
                else if (!c->waiting++) c->oldest_waiting_ns = next_due;
            }
            struct itimerspec at = {.it_value = {next_due / 1000000000, next_due % 1000000000}};
            timerfd_settime(timer, TFD_TIMER_ABSTIME, &at, NULL);
        }
        int ready = epoll_wait(epoll_fd, events, 256, 50);
        for (int i = 0; i < ready; i++) {
            if (events[i].data.u32 == CONNECTIONS_MAX) {
                uint64_t ticks;
                if (read(timer, &ticks, sizeof ticks) < 0 && errno != EAGAIN) die("timerfd");
                continue;
            }
            Connection *c = &connections[events[i].data.u32];
            if (events[i].events & EPOLLOUT) flush(c);
            if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) on_readable(c, interval_ns);
        }
    }
    report(now_ns() - measured_from, &before);
    return 0;
}
