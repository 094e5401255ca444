/*
 * Put under a process with LD_PRELOAD: makes the file system fail as told, and writes down what is done to it.
 *
 * CLAIMLOG_SHIM_ROOT   the directory that it is about: what is outside is let through (but see `**`)
 * CLAIMLOG_SHIM_RULES  a file of rules, looked at again before each call, so that they can change while the process runs
 * CLAIMLOG_SHIM_TRACE  a file to which every change below the root is appended. Nothing is synced then: what a power
 *                      cut would leave is worked out from the trace (powercut.rs)
 *
 * A rule is a line: `<kind> <path> <first> <count> <action> [argument]`.
 *   kind    open, openw (for writing), create (an open that makes a file), read, write, sync (of a file), syncdir, truncate, rename, unlink
 *           (of a directory too), mkdir, flock, accept; or mutate: create, write, truncate, rename, unlink, mkdir
 *   path    a part of the path; `*`: all below the root; `**`: outside too
 *   first   with the how-manieth such call it begins, from 1
 *   count   for how many calls; `*`: for all
 *   action  the name of an errno
 *           short N    so many bytes are read or written
 *           torn N     so many bytes are written, and the process is killed
 *           flip N     a bit of the byte at that offset of the file is another one when it is read
 *           sleep MS   takes longer
 *           hang       does not come back before the rules change
 *           kill       the process is killed instead
 *           note       nothing
 * Each time one is used, a line `<kind> <path>` is appended to the file `<rules>.hits`.
 *
 * Calls are made by number, so there is nobody to pass them on to. What goes around the C library is not seen: here
 * that is fallocate (a file that has become longer is noticed) and statvfs.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum kind { OPEN, OPENW, CREATE, READ, WRITE, SYNC, SYNCDIR, TRUNCATE, RENAME, UNLINK, MKDIR, FLOCK, ACCEPT, KINDS };
static const char *const KIND_NAMES[KINDS] = {"open", "openw", "create", "read",   "write", "sync",  "syncdir",
                                              "truncate", "rename", "unlink", "mkdir", "flock", "accept"};
static const unsigned MUTATING =
    1u << CREATE | 1u << WRITE | 1u << TRUNCATE | 1u << RENAME | 1u << UNLINK | 1u << MKDIR;

enum action { ERRNO, SHORT, TORN, FLIP, SLEEP, HANG, KILL, NOTE };
static const struct {
    const char *name;
    int number;
} ERRNOS[] = {{"EIO", EIO},       {"ENOSPC", ENOSPC}, {"EROFS", EROFS},   {"EMFILE", EMFILE}, {"ENFILE", ENFILE},
              {"EDQUOT", EDQUOT}, {"EINTR", EINTR},   {"EACCES", EACCES}, {"ENOLCK", ENOLCK}, {"EPERM", EPERM}};

struct rule {
    unsigned kinds;
    char path[256];
    unsigned long first, count, seen;
    enum action action;
    long argument;
};

#define RULES_MAX 32
static struct rule rules[RULES_MAX];
static int rule_count;
static struct timespec rules_time;
static ino_t rules_ino;
static unsigned generation;
static pthread_mutex_t rules_lock = PTHREAD_MUTEX_INITIALIZER;
/* Held while a change is made and written down: the trace has them in the order in which they happened. */
static pthread_mutex_t trace_lock = PTHREAD_MUTEX_INITIALIZER;

static char root[PATH_MAX], rules_path[PATH_MAX];
static size_t root_length;
static int trace_fd = -1;
static uint64_t next_sync;

static void put_setting(char *to, const char *name) {
    const char *value = getenv(name);
    if (value && strlen(value) < PATH_MAX) strcpy(to, value);
}

__attribute__((constructor)) static void start(void) {
    put_setting(root, "CLAIMLOG_SHIM_ROOT");
    root_length = strlen(root);
    put_setting(rules_path, "CLAIMLOG_SHIM_RULES");
    const char *trace = getenv("CLAIMLOG_SHIM_TRACE");
    if (trace) trace_fd = (int)syscall(SYS_openat, AT_FDCWD, trace, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    next_sync = (uint64_t)getpid() << 32;
}

static void die(const char *why) {
    syscall(SYS_write, 2, why, strlen(why));
    syscall(SYS_write, 2, "\n", 1);
    abort();
}

static void killed(void) {
    /* Not in the middle of a change that is not written down yet. */
    pthread_mutex_lock(&trace_lock);
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

/* Paths */

static int below_root(const char *path) {
    return root_length && !strncmp(path, root, root_length) && (path[root_length] == '/' || !path[root_length]);
}

/* The path of an open file; 0 if it has none. */
static int path_of(int fd, char *out) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    long length = syscall(SYS_readlink, link, out, PATH_MAX - 1);
    if (length <= 0) return 0;
    out[length] = 0;
    return out[0] == '/';
}

static void resolve(int at, const char *path, char *out) {
    char base[PATH_MAX] = "";
    if (path[0] == '/') {
        snprintf(out, PATH_MAX, "%s", path);
        return;
    }
    if (at == AT_FDCWD) syscall(SYS_getcwd, base, PATH_MAX);
    else path_of(at, base);
    if (snprintf(out, PATH_MAX, "%s/%s", base, path) >= PATH_MAX) die("shim: a path is too long");
}

static int stat_path(const char *path, struct stat *found) {
    return (int)syscall(SYS_newfstatat, AT_FDCWD, path, found, AT_SYMLINK_NOFOLLOW);
}

static int stat_fd(int fd, struct stat *found) { return (int)syscall(SYS_fstat, fd, found); }

/* Rules */

static int parse_rule(char *line, struct rule *rule) {
    char kind[16], count[24], action[16], argument[24] = "0";
    memset(rule, 0, sizeof *rule);
    if (sscanf(line, "%15s %255s %lu %23s %15s %23s", kind, rule->path, &rule->first, count, action, argument) < 5)
        return 0;
    for (int i = 0; i < KINDS; i++)
        if (!strcmp(kind, KIND_NAMES[i])) rule->kinds = 1u << i;
    if (!strcmp(kind, "mutate")) rule->kinds = MUTATING;
    rule->count = strcmp(count, "*") ? strtoul(count, NULL, 10) : ULONG_MAX;
    rule->argument = strtol(argument, NULL, 10);
    static const char *const NAMES[] = {"", "short", "torn", "flip", "sleep", "hang", "kill", "note"};
    for (int i = SHORT; i <= NOTE; i++)
        if (!strcmp(action, NAMES[i])) {
            rule->action = (enum action)i;
            return rule->kinds != 0;
        }
    for (size_t i = 0; i < sizeof ERRNOS / sizeof *ERRNOS; i++)
        if (!strcmp(action, ERRNOS[i].name)) {
            rule->action = ERRNO;
            rule->argument = ERRNOS[i].number;
            return rule->kinds != 0;
        }
    return 0;
}

static void reload(void) {
    struct stat found;
    if (stat_path(rules_path, &found)) return;
    if (found.st_ino == rules_ino && !memcmp(&found.st_mtim, &rules_time, sizeof rules_time)) return;
    rules_ino = found.st_ino;
    rules_time = found.st_mtim;
    generation++;
    rule_count = 0;
    static char text[16384];
    int fd = (int)syscall(SYS_openat, AT_FDCWD, rules_path, O_RDONLY | O_CLOEXEC, 0);
    long length = fd < 0 ? 0 : syscall(SYS_read, fd, text, sizeof text - 1);
    if (fd >= 0) syscall(SYS_close, fd);
    text[length < 0 ? 0 : length] = 0;
    char *next = text;
    for (char *line; (line = strsep(&next, "\n"));) {
        if (!*line) continue;
        if (rule_count == RULES_MAX || !parse_rule(line, &rules[rule_count])) die("shim: a rule makes no sense");
        rule_count++;
    }
}

static void note_hit(enum kind kind, const char *path) {
    char line[PATH_MAX + 32], hits[PATH_MAX + 8];
    int length = snprintf(line, sizeof line, "%s %s\n", KIND_NAMES[kind], path);
    snprintf(hits, sizeof hits, "%s.hits", rules_path);
    int fd = (int)syscall(SYS_openat, AT_FDCWD, hits, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (fd >= 0) {
        syscall(SYS_write, fd, line, length);
        syscall(SYS_close, fd);
    }
}

struct verdict {
    /* The call fails with it. */
    int error;
    /* No more bytes than this. */
    size_t most;
    /* And then the end. */
    int torn;
    long flip;
};

static void wait_for_rules(unsigned since) {
    for (int changed = 0; !changed;) {
        usleep(5000);
        pthread_mutex_lock(&rules_lock);
        reload();
        changed = generation != since;
        pthread_mutex_unlock(&rules_lock);
    }
}

static struct verdict judge(enum kind kind, const char *path) {
    struct verdict verdict = {0, SIZE_MAX, 0, -1};
    if (!rules_path[0]) return verdict;
    int inside = path[0] && below_root(path);
    enum action action = NOTE;
    long argument = 0;
    unsigned since = 0;
    pthread_mutex_lock(&rules_lock);
    reload();
    for (int i = 0; i < rule_count; i++) {
        struct rule *rule = &rules[i];
        int everywhere = !strcmp(rule->path, "**");
        if (!(rule->kinds >> kind & 1) || (!inside && !everywhere && kind != ACCEPT)) continue;
        if (inside && !everywhere && strcmp(rule->path, "*") && !strstr(path + root_length, rule->path)) continue;
        rule->seen++;
        if (rule->seen < rule->first || rule->seen - rule->first >= rule->count) continue;
        note_hit(kind, path);
        action = rule->action;
        argument = rule->argument;
        since = generation;
        if (action == ERRNO) verdict.error = (int)argument;
        if (action == SHORT || action == TORN) verdict.most = (size_t)argument;
        if (action == TORN) verdict.torn = 1;
        if (action == FLIP) verdict.flip = argument;
        if (action != NOTE) break;
    }
    pthread_mutex_unlock(&rules_lock);
    if (action == SLEEP) usleep((useconds_t)argument * 1000);
    if (action == HANG) wait_for_rules(since);
    if (action == KILL) killed();
    return verdict;
}

#define JUDGE(kind, path)                                                                                              \
    struct verdict verdict = judge(kind, path);                                                                        \
    if (verdict.error) {                                                                                               \
        errno = verdict.error;                                                                                         \
        return -1;                                                                                                     \
    }

/* The trace */

enum { T_CREATE = 1, T_MKDIR, T_WRITE, T_ZERO, T_SIZE, T_RENAME, T_UNLINK, T_SYNC, T_SYNCED, T_SYNCALL, T_LINK };

struct record {
    char *bytes;
    size_t length, room;
};

static void add(struct record *record, const void *bytes, size_t length) {
    if (record->length + length > record->room) {
        record->room = (record->length + length) * 2;
        record->bytes = realloc(record->bytes, record->room);
        if (!record->bytes) die("shim: no memory");
    }
    memcpy(record->bytes + record->length, bytes, length);
    record->length += length;
}

static struct record begin(uint8_t type) {
    struct record record = {NULL, 0, 0};
    uint32_t length = 0;
    add(&record, &length, 4);
    add(&record, &type, 1);
    return record;
}

static void add_number(struct record *record, uint64_t number) { add(record, &number, 8); }

static void add_path(struct record *record, const char *path) {
    const char *relative = path + root_length;
    while (*relative == '/') relative++;
    uint32_t length = (uint32_t)strlen(relative);
    add(record, &length, 4);
    add(record, relative, length);
}

static void end(struct record *record) {
    uint32_t length = (uint32_t)record->length;
    memcpy(record->bytes, &length, 4);
    if (syscall(SYS_write, trace_fd, record->bytes, record->length) != (long)record->length)
        die("shim: the trace can't be written");
    free(record->bytes);
}

static void trace_path(uint8_t type, uint64_t ino, const char *path) {
    struct record record = begin(type);
    add_number(&record, ino);
    add_path(&record, path);
    end(&record);
}

static void trace_two(uint8_t type, const char *from, const char *to) {
    struct record record = begin(type);
    add_path(&record, from);
    add_path(&record, to);
    end(&record);
}

static void trace_numbers(uint8_t type, uint64_t first, uint64_t second, uint64_t third) {
    struct record record = begin(type);
    add_number(&record, first);
    add_number(&record, second);
    add_number(&record, third);
    end(&record);
}

static int all_zero(const char *bytes, size_t length) {
    for (size_t i = 0; i < length; i++)
        if (bytes[i]) return 0;
    return 1;
}

/* `size`: how long the file was before: it may have been made longer by a call that is not seen here. */
static void trace_write(uint64_t ino, uint64_t size, uint64_t offset, const void *bytes, size_t length) {
    int zero = all_zero(bytes, length);
    struct record record = begin(zero ? T_ZERO : T_WRITE);
    add_number(&record, ino);
    add_number(&record, size);
    add_number(&record, offset);
    if (zero) add_number(&record, length);
    else add(&record, bytes, length);
    end(&record);
}

/* Opening */

static int open_at(int at, const char *path, int flags, mode_t mode) {
    char full[PATH_MAX];
    resolve(at, path, full);
    int inside = below_root(full);
    struct stat before;
    int creates = inside && (flags & O_CREAT) && stat_path(full, &before);
    JUDGE(OPEN, full)
    if (flags & (O_WRONLY | O_RDWR)) {
        JUDGE(OPENW, full)
    }
    if (creates) {
        JUDGE(CREATE, full)
    }
    if (!inside || trace_fd < 0) return (int)syscall(SYS_openat, at, path, flags, mode);
    if ((flags & O_TMPFILE) == O_TMPFILE || (flags & (O_DSYNC | O_DIRECT))) die("shim: this way to open is not traced");
    pthread_mutex_lock(&trace_lock);
    creates = (flags & O_CREAT) && stat_path(full, &before);
    int fd = (int)syscall(SYS_openat, at, path, flags, mode);
    int error = errno;
    if (fd >= 0 && (creates || flags & O_TRUNC)) {
        struct stat found;
        stat_fd(fd, &found);
        if (creates) trace_path(T_CREATE, found.st_ino, full);
        else if (before.st_size) trace_numbers(T_SIZE, found.st_ino, (uint64_t)before.st_size, 0);
    }
    pthread_mutex_unlock(&trace_lock);
    errno = error;
    return fd;
}

#define MODE                                                                                                           \
    mode_t mode = 0;                                                                                                   \
    if (flags & O_CREAT) {                                                                                             \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        mode = va_arg(rest, mode_t);                                                                                   \
        va_end(rest);                                                                                                  \
    }

int open(const char *path, int flags, ...) {
    MODE return open_at(AT_FDCWD, path, flags, mode);
}
int open64(const char *path, int flags, ...) {
    MODE return open_at(AT_FDCWD, path, flags, mode);
}
int openat(int at, const char *path, int flags, ...) {
    MODE return open_at(at, path, flags, mode);
}
int openat64(int at, const char *path, int flags, ...) {
    MODE return open_at(at, path, flags, mode);
}
int creat(const char *path, mode_t mode) { return open_at(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return creat(path, mode); }

DIR *opendir(const char *path) {
    static DIR *(*next)(const char *);
    if (!next) next = (DIR * (*)(const char *)) dlsym(RTLD_NEXT, "opendir");
    char full[PATH_MAX];
    resolve(AT_FDCWD, path, full);
    struct verdict verdict = judge(OPEN, full);
    if (verdict.error) {
        errno = verdict.error;
        return NULL;
    }
    return next(path);
}

/* Reading */

static void flip(struct verdict verdict, off_t offset, char *bytes, ssize_t count) {
    if (verdict.flip >= offset && verdict.flip < offset + count) bytes[verdict.flip - offset] ^= 0x10;
}

ssize_t read(int fd, void *bytes, size_t length) {
    char path[PATH_MAX];
    if (!path_of(fd, path) || !below_root(path)) return syscall(SYS_read, fd, bytes, length);
    JUDGE(READ, path)
    off_t offset = (off_t)syscall(SYS_lseek, fd, 0, SEEK_CUR);
    ssize_t count = syscall(SYS_read, fd, bytes, length < verdict.most ? length : verdict.most);
    flip(verdict, offset, bytes, count);
    return count;
}

ssize_t pread64(int fd, void *bytes, size_t length, off64_t offset) {
    char path[PATH_MAX];
    if (!path_of(fd, path) || !below_root(path)) return syscall(SYS_pread64, fd, bytes, length, offset);
    JUDGE(READ, path)
    ssize_t count = syscall(SYS_pread64, fd, bytes, length < verdict.most ? length : verdict.most, offset);
    flip(verdict, offset, bytes, count);
    return count;
}
ssize_t pread(int fd, void *bytes, size_t length, off_t offset) { return pread64(fd, bytes, length, offset); }

ssize_t readv(int fd, const struct iovec *parts, int count) {
    char path[PATH_MAX];
    if (!path_of(fd, path) || !below_root(path)) return syscall(SYS_readv, fd, parts, count);
    return count ? read(fd, parts[0].iov_base, parts[0].iov_len) : 0;
}

/* Writing */

/* At `offset`, or where the file stands if that is negative. */
static ssize_t write_at(int fd, const void *bytes, size_t length, off64_t offset) {
    char path[PATH_MAX];
    if (!path_of(fd, path) || !below_root(path))
        return offset < 0 ? syscall(SYS_write, fd, bytes, length) : syscall(SYS_pwrite64, fd, bytes, length, offset);
    JUDGE(WRITE, path)
    if (length > verdict.most) length = verdict.most;
    int traced = trace_fd >= 0;
    if (traced) pthread_mutex_lock(&trace_lock);
    struct stat found;
    stat_fd(fd, &found);
    off64_t at = offset;
    if (at < 0) {
        int appends = (int)syscall(SYS_fcntl, fd, F_GETFL) & O_APPEND;
        at = appends ? found.st_size : (off64_t)syscall(SYS_lseek, fd, 0, SEEK_CUR);
    }
    ssize_t count =
        offset < 0 ? syscall(SYS_write, fd, bytes, length) : syscall(SYS_pwrite64, fd, bytes, length, offset);
    int error = errno;
    if (traced && count > 0)
        trace_write(found.st_ino, (uint64_t)found.st_size, (uint64_t)at, bytes, (size_t)count);
    if (traced) pthread_mutex_unlock(&trace_lock);
    if (verdict.torn) killed();
    errno = error;
    return count;
}

ssize_t write(int fd, const void *bytes, size_t length) { return write_at(fd, bytes, length, -1); }
ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t offset) {
    return write_at(fd, bytes, length, offset);
}
ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) { return write_at(fd, bytes, length, offset); }

ssize_t writev(int fd, const struct iovec *parts, int count) {
    char path[PATH_MAX];
    if (!path_of(fd, path) || !below_root(path)) return syscall(SYS_writev, fd, parts, count);
    /* A short write, as it may always happen. */
    return count ? write_at(fd, parts[0].iov_base, parts[0].iov_len, -1) : 0;
}

static void refuse(int fd, const char *what) {
    char path[PATH_MAX];
    if (path_of(fd, path) && below_root(path)) die(what);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
    refuse(fd, "shim: pwritev is not traced");
    return syscall(SYS_pwritev, fd, parts, count, offset, 0);
}
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset) {
    return pwritev(fd, parts, count, offset);
}
ssize_t copy_file_range(int in, off64_t *in_at, int out, off64_t *out_at, size_t length, unsigned flags) {
    refuse(out, "shim: copy_file_range is not traced");
    return syscall(SYS_copy_file_range, in, in_at, out, out_at, length, flags);
}
void *mmap64(void *at, size_t length, int protection, int flags, int fd, off64_t offset) {
    if (fd >= 0 && (flags & MAP_SHARED) && (protection & PROT_WRITE)) refuse(fd, "shim: a mapping is not traced");
    return (void *)syscall(SYS_mmap, at, length, protection, flags, fd, offset);
}
void *mmap(void *at, size_t length, int protection, int flags, int fd, off_t offset) {
    return mmap64(at, length, protection, flags, fd, offset);
}

/* Lengths */

static int set_length(int fd, off64_t length) {
    char path[PATH_MAX];
    if (!path_of(fd, path) || !below_root(path)) return (int)syscall(SYS_ftruncate, fd, length);
    JUDGE(TRUNCATE, path)
    if (trace_fd < 0) return (int)syscall(SYS_ftruncate, fd, length);
    pthread_mutex_lock(&trace_lock);
    struct stat found;
    stat_fd(fd, &found);
    int done = (int)syscall(SYS_ftruncate, fd, length);
    int error = errno;
    if (!done) trace_numbers(T_SIZE, found.st_ino, (uint64_t)found.st_size, (uint64_t)length);
    pthread_mutex_unlock(&trace_lock);
    errno = error;
    return done;
}

int ftruncate64(int fd, off64_t length) { return set_length(fd, length); }
int ftruncate(int fd, off_t length) { return set_length(fd, length); }
int truncate64(const char *path, off64_t length) {
    int fd = open_at(AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0);
    if (fd < 0) return -1;
    int done = set_length(fd, length), error = errno;
    syscall(SYS_close, fd);
    errno = error;
    return done;
}
int truncate(const char *path, off_t length) { return truncate64(path, length); }
int fallocate64(int fd, int mode, off64_t offset, off64_t length) {
    refuse(fd, "shim: fallocate by this way is not traced");
    return (int)syscall(SYS_fallocate, fd, mode, offset, length);
}
int fallocate(int fd, int mode, off_t offset, off_t length) { return fallocate64(fd, mode, offset, length); }

/* Syncing */

static int sync_by(long number, int fd) {
    char path[PATH_MAX];
    if (!path_of(fd, path) || !below_root(path)) return (int)syscall(number, fd);
    struct stat found;
    stat_fd(fd, &found);
    uint64_t id = 0;
    if (trace_fd >= 0) {
        pthread_mutex_lock(&trace_lock);
        id = ++next_sync;
        stat_fd(fd, &found);
        trace_numbers(T_SYNC, id, found.st_ino, (uint64_t)found.st_size);
        pthread_mutex_unlock(&trace_lock);
    }
    JUDGE(S_ISDIR(found.st_mode) ? SYNCDIR : SYNC, path)
    if (trace_fd < 0) return (int)syscall(number, fd);
    trace_numbers(T_SYNCED, id, 0, 0);
    return 0;
}

int fsync(int fd) { return sync_by(SYS_fsync, fd); }
int fdatasync(int fd) { return sync_by(SYS_fdatasync, fd); }
int sync_file_range(int fd, off64_t offset, off64_t length, unsigned flags) {
    refuse(fd, "shim: sync_file_range is not traced");
    return (int)syscall(SYS_sync_file_range, fd, offset, length, flags);
}

/* sled runs the program `sync`, which comes here. */
void sync(void) {
    if (trace_fd < 0) {
        syscall(SYS_sync);
        return;
    }
    uint64_t id = ++next_sync;
    trace_numbers(T_SYNCALL, id, 0, 0);
    trace_numbers(T_SYNCED, id, 0, 0);
}
int syncfs(int fd) {
    if (trace_fd < 0) return (int)syscall(SYS_syncfs, fd);
    sync();
    return 0;
}

/* Names */

static int rename_at(int from_at, const char *from, int to_at, const char *to, unsigned flags) {
    char old[PATH_MAX], new[PATH_MAX];
    resolve(from_at, from, old);
    resolve(to_at, to, new);
    if (!below_root(old)) return (int)syscall(SYS_renameat2, from_at, from, to_at, to, flags);
    JUDGE(RENAME, new)
    if (trace_fd < 0) return (int)syscall(SYS_renameat2, from_at, from, to_at, to, flags);
    pthread_mutex_lock(&trace_lock);
    int done = (int)syscall(SYS_renameat2, from_at, from, to_at, to, flags);
    int error = errno;
    if (!done) trace_two(T_RENAME, old, new);
    pthread_mutex_unlock(&trace_lock);
    errno = error;
    return done;
}

int rename(const char *from, const char *to) { return rename_at(AT_FDCWD, from, AT_FDCWD, to, 0); }
int renameat(int from_at, const char *from, int to_at, const char *to) {
    return rename_at(from_at, from, to_at, to, 0);
}
int renameat2(int from_at, const char *from, int to_at, const char *to, unsigned flags) {
    return rename_at(from_at, from, to_at, to, flags);
}

static int unlink_at(int at, const char *path, int flags) {
    char full[PATH_MAX];
    resolve(at, path, full);
    if (!below_root(full)) return (int)syscall(SYS_unlinkat, at, path, flags);
    JUDGE(UNLINK, full)
    if (trace_fd < 0) return (int)syscall(SYS_unlinkat, at, path, flags);
    pthread_mutex_lock(&trace_lock);
    int done = (int)syscall(SYS_unlinkat, at, path, flags);
    int error = errno;
    if (!done) trace_path(T_UNLINK, 0, full);
    pthread_mutex_unlock(&trace_lock);
    errno = error;
    return done;
}

int unlink(const char *path) { return unlink_at(AT_FDCWD, path, 0); }
int unlinkat(int at, const char *path, int flags) { return unlink_at(at, path, flags); }
int rmdir(const char *path) { return unlink_at(AT_FDCWD, path, AT_REMOVEDIR); }

int mkdirat(int at, const char *path, mode_t mode) {
    char full[PATH_MAX];
    resolve(at, path, full);
    if (!below_root(full)) return (int)syscall(SYS_mkdirat, at, path, mode);
    JUDGE(MKDIR, full)
    if (trace_fd < 0) return (int)syscall(SYS_mkdirat, at, path, mode);
    pthread_mutex_lock(&trace_lock);
    int done = (int)syscall(SYS_mkdirat, at, path, mode);
    int error = errno;
    struct stat found;
    if (!done && !stat_path(full, &found)) trace_path(T_MKDIR, found.st_ino, full);
    pthread_mutex_unlock(&trace_lock);
    errno = error;
    return done;
}
int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

int linkat(int from_at, const char *from, int to_at, const char *to, int flags) {
    char new[PATH_MAX];
    resolve(to_at, to, new);
    if (below_root(new)) die("shim: links are not traced");
    return (int)syscall(SYS_linkat, from_at, from, to_at, to, flags);
}
int link(const char *from, const char *to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }

/* Locks and sockets */

int flock(int fd, int operation) {
    char path[PATH_MAX];
    if (path_of(fd, path) && below_root(path)) {
        JUDGE(FLOCK, path)
    }
    return (int)syscall(SYS_flock, fd, operation);
}

int accept4(int fd, struct sockaddr *restrict address, socklen_t *restrict length, int flags) {
    JUDGE(ACCEPT, "-")
    return (int)syscall(SYS_accept4, fd, address, length, flags);
}
int accept(int fd, struct sockaddr *restrict address, socklen_t *restrict length) {
    return accept4(fd, address, length, 0);
}
