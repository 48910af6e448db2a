/* A file system that fails, for tests: loaded with LD_PRELOAD, it answers calls of one kind on files below one folder with an
   error, at the n-th call or from the n-th on. All else goes to the C library. failing.py arms it and reads its counts.

   What the C library calls inside of itself, and what the kernel writes for mmap, is not seen. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { WRITE, CLOSE, CREATE, RENAME, LINK, FSYNC, READ, LOCK, CHMOD, KINDS };

static char below[PATH_MAX];
static int armed = -1, number, lasting;
static long nth, counts[KINDS];

void failing_arm(const char *folder, int kind, long n, int error, int and_after) {
    armed = -1;
    memset(counts, 0, sizeof counts);
    snprintf(below, sizeof below, "%s", folder);
    nth = n, number = error, lasting = and_after;
    armed = kind;
}

long failing_count(int kind) { return counts[kind]; }

static int inside(const char *path) {
    size_t length = strlen(below);
    return length && !strncmp(path, below, length) && (path[length] == '/' || !path[length]);
}

static int inside_fd(int fd) {
    char name[64], path[PATH_MAX];
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(name, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return inside(path);
}

static int inside_at(int folder, const char *path) {
    if (!below[0] || !path) return 0;
    if (path[0] == '/') return inside(path);
    if (folder != AT_FDCWD) return inside_fd(folder);
    char here[PATH_MAX], whole[2 * PATH_MAX];
    if (!getcwd(here, sizeof here)) return 0;
    snprintf(whole, sizeof whole, "%s/%s", here, path);
    return inside(whole);
}

/* whether this call, of a kind and on a file below the folder, is to fail */
static int fails(enum kind kind) {
    long n = __atomic_add_fetch(&counts[kind], 1, __ATOMIC_SEQ_CST);
    if ((int)kind != armed || !nth || !(n == nth || (lasting && n > nth))) return 0;
    errno = number;
    return 1;
}

#define REAL(name) \
    static __typeof__(name) *real; \
    if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)
#define ON_FD(kind, fd, answer) \
    if (below[0] && inside_fd(fd) && fails(kind)) return answer
#define ON_PATH(kind, folder, path, answer) \
    if (inside_at(folder, path) && fails(kind)) return answer

ssize_t write(int fd, const void *data, size_t size) {
    REAL(write);
    ON_FD(WRITE, fd, -1);
    return real(fd, data, size);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    REAL(pwrite);
    ON_FD(WRITE, fd, -1);
    return real(fd, data, size, at);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    REAL(pwrite64);
    ON_FD(WRITE, fd, -1);
    return real(fd, data, size, at);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(writev);
    ON_FD(WRITE, fd, -1);
    return real(fd, parts, count);
}

size_t fwrite(const void *data, size_t size, size_t count, FILE *stream) {
    REAL(fwrite);
    ON_FD(WRITE, fileno(stream), 0);
    return real(data, size, count, stream);
}

ssize_t sendfile(int out, int in, off_t *at, size_t size) {
    REAL(sendfile);
    ON_FD(WRITE, out, -1);
    return real(out, in, at, size);
}

ssize_t sendfile64(int out, int in, off64_t *at, size_t size) {
    REAL(sendfile64);
    ON_FD(WRITE, out, -1);
    return real(out, in, at, size);
}

ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t size, unsigned flags) {
    REAL(copy_file_range);
    ON_FD(WRITE, out, -1);
    return real(in, from, out, to, size, flags);
}

int ftruncate(int fd, off_t size) {
    REAL(ftruncate);
    ON_FD(WRITE, fd, -1);
    return real(fd, size);
}

int ftruncate64(int fd, off64_t size) {
    REAL(ftruncate64);
    ON_FD(WRITE, fd, -1);
    return real(fd, size);
}

int posix_fallocate(int fd, off_t at, off_t size) {
    REAL(posix_fallocate);
    ON_FD(WRITE, fd, number);
    return real(fd, at, size);
}

int posix_fallocate64(int fd, off64_t at, off64_t size) {
    REAL(posix_fallocate64);
    ON_FD(WRITE, fd, number);
    return real(fd, at, size);
}

/* network file systems tell it when a written file is closed; closed it is */
int close(int fd) {
    REAL(close);
    if (below[0] && (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDONLY && inside_fd(fd) && fails(CLOSE)) {
        real(fd);
        errno = number;
        return -1;
    }
    return real(fd);
}

/* opening is counted where it may make a file */
#define OPEN(name, folder, given, ...) \
    REAL(name); \
    mode_t mode = 0; \
    if (flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE) { \
        va_list more; \
        va_start(more, flags); \
        mode = va_arg(more, mode_t); \
        va_end(more); \
    } \
    if (flags & O_CREAT) ON_PATH(CREATE, folder, given, -1); \
    return real(__VA_ARGS__, flags, mode)

int open(const char *path, int flags, ...) { OPEN(open, AT_FDCWD, path, path); }
int open64(const char *path, int flags, ...) { OPEN(open64, AT_FDCWD, path, path); }
int openat(int folder, const char *path, int flags, ...) { OPEN(openat, folder, path, folder, path); }
int openat64(int folder, const char *path, int flags, ...) { OPEN(openat64, folder, path, folder, path); }

FILE *fopen(const char *path, const char *mode) {
    REAL(fopen);
    if (mode[0] != 'r') ON_PATH(CREATE, AT_FDCWD, path, NULL);
    return real(path, mode);
}

FILE *fopen64(const char *path, const char *mode) {
    REAL(fopen64);
    if (mode[0] != 'r') ON_PATH(CREATE, AT_FDCWD, path, NULL);
    return real(path, mode);
}

int mkdir(const char *path, mode_t mode) {
    REAL(mkdir);
    ON_PATH(CREATE, AT_FDCWD, path, -1);
    return real(path, mode);
}

int mkdirat(int folder, const char *path, mode_t mode) {
    REAL(mkdirat);
    ON_PATH(CREATE, folder, path, -1);
    return real(folder, path, mode);
}

int symlink(const char *to, const char *path) {
    REAL(symlink);
    ON_PATH(CREATE, AT_FDCWD, path, -1);
    return real(to, path);
}

int symlinkat(const char *to, int folder, const char *path) {
    REAL(symlinkat);
    ON_PATH(CREATE, folder, path, -1);
    return real(to, folder, path);
}

int rename(const char *from, const char *to) {
    REAL(rename);
    ON_PATH(RENAME, AT_FDCWD, to, -1);
    return real(from, to);
}

int renameat(int folder, const char *from, int other, const char *to) {
    REAL(renameat);
    ON_PATH(RENAME, other, to, -1);
    return real(folder, from, other, to);
}

int renameat2(int folder, const char *from, int other, const char *to, unsigned flags) {
    REAL(renameat2);
    ON_PATH(RENAME, other, to, -1);
    return real(folder, from, other, to, flags);
}

int link(const char *from, const char *to) {
    REAL(link);
    ON_PATH(LINK, AT_FDCWD, to, -1);
    return real(from, to);
}

int linkat(int folder, const char *from, int other, const char *to, int flags) {
    REAL(linkat);
    ON_PATH(LINK, other, to, -1);
    return real(folder, from, other, to, flags);
}

int fsync(int fd) {
    REAL(fsync);
    ON_FD(FSYNC, fd, -1);
    return real(fd);
}

int fdatasync(int fd) {
    REAL(fdatasync);
    ON_FD(FSYNC, fd, -1);
    return real(fd);
}

ssize_t read(int fd, void *data, size_t size) {
    REAL(read);
    ON_FD(READ, fd, -1);
    return real(fd, data, size);
}

ssize_t pread(int fd, void *data, size_t size, off_t at) {
    REAL(pread);
    ON_FD(READ, fd, -1);
    return real(fd, data, size, at);
}

ssize_t pread64(int fd, void *data, size_t size, off64_t at) {
    REAL(pread64);
    ON_FD(READ, fd, -1);
    return real(fd, data, size, at);
}

int flock(int fd, int how) {
    REAL(flock);
    ON_FD(LOCK, fd, -1);
    return real(fd, how);
}

int chmod(const char *path, mode_t mode) {
    REAL(chmod);
    ON_PATH(CHMOD, AT_FDCWD, path, -1);
    return real(path, mode);
}

int fchmod(int fd, mode_t mode) {
    REAL(fchmod);
    ON_FD(CHMOD, fd, -1);
    return real(fd, mode);
}

int fchmodat(int folder, const char *path, mode_t mode, int flags) {
    REAL(fchmodat);
    ON_PATH(CHMOD, folder, path, -1);
    return real(folder, path, mode, flags);
}
