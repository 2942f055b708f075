/* The wall clock of a process, ahead by as many nanoseconds as the file $CHAOS_CLOCK says: two numbers of 8 bytes, in this machine's
   order, the offset now and the one before; they may change at any moment. Preloaded (LD_PRELOAD) into the detector and into
   redis-server, which have no such hook of their own. The clock that only goes forward is left alone, and so is the length of waits. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL

static const int64_t *offset;

__attribute__((constructor)) static void open_file(void) {
    const char *path = getenv("CHAOS_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *at = mmap(NULL, 2 * sizeof *offset, PROT_READ, MAP_SHARED, file, 0);
    if (at != MAP_FAILED) offset = at;
    close(file);
}

static int64_t ahead(int before) { return offset ? __atomic_load_n(offset + before, __ATOMIC_RELAXED) : 0; }

static int64_t nanos(const struct timespec *t) { return (int64_t)t->tv_sec * SECOND + t->tv_nsec; }

static void move(struct timespec *t, int64_t by) {
    int64_t all = nanos(t) + by;
    if (all < 0) all = 0;
    t->tv_sec = all / SECOND;
    t->tv_nsec = all % SECOND;
}

int clock_gettime(clockid_t id, struct timespec *t) {
    int result = syscall(SYS_clock_gettime, id, t);
    if (result == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) move(t, ahead(0));
    return result;
}

int gettimeofday(struct timeval *restrict t, void *restrict zone) {
    struct timespec now;
    (void)zone;
    int result = clock_gettime(CLOCK_REALTIME, &now);
    t->tv_sec = now.tv_sec;
    t->tv_usec = now.tv_nsec / 1000;
    return result;
}

time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}

int timespec_get(struct timespec *t, int base) {
    return base == TIME_UTC && clock_gettime(CLOCK_REALTIME, t) == 0 ? base : 0;
}

/* Deadlines were made from the clock above, and the kernel waits by its own. librdkafka and jemalloc, the only callers, leave a
   condition at its default, the wall clock. The clock may have jumped since a deadline was made: a wait that would be none, or
   longer than any that is meant, was made before. */
static struct timespec deadline(const struct timespec *until) {
    struct timespec now, t = *until;
    syscall(SYS_clock_gettime, CLOCK_REALTIME, &now);
    int64_t length = nanos(&t) - ahead(0) - nanos(&now), earlier = nanos(&t) - ahead(1) - nanos(&now);
    int plausible = length > -SECOND && length < 120 * SECOND;
    int was = earlier > -SECOND && earlier < 120 * SECOND;
    move(&t, -ahead(!plausible && was));
    return t;
}

int pthread_cond_timedwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict lock,
                           const struct timespec *restrict until) {
    static int (*real)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    if (!real) {
        /* The first version of this symbol has another layout. */
        void *found = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
        if (!found) found = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
        *(void **)&real = found;
    }
    struct timespec t = deadline(until);
    return real(condition, lock, &t);
}

int cnd_timedwait(cnd_t *restrict condition, mtx_t *restrict lock, const struct timespec *restrict until) {
    static int (*real)(cnd_t *, mtx_t *, const struct timespec *);
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "cnd_timedwait");
    struct timespec t = deadline(until);
    return real(condition, lock, &t);
}
