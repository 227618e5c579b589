/*
 * Preloaded into a run (LD_PRELOAD): counts the calls of the C library that open or change something below FAIL_ROOT, and
 * at call number FAIL_AT ends the process (FAIL_HOW=kill), or lets that call fail: once (EIO), from then on (DEAD), or, as a
 * full disk does, from then on where room is needed (ENOSPC). Names of calls go to FAIL_LOG, a line each.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define FDS 65536
static atomic_int calls;
static atomic_char ours[FDS];
static const char *root, *how, *logged;
static int at;

__attribute__((constructor)) static void setup(void) {
  root = getenv("FAIL_ROOT");
  how = getenv("FAIL_HOW");
  logged = getenv("FAIL_LOG");
  const char *text = getenv("FAIL_AT");
  at = text ? atoi(text) : 0;
  if (!how) how = "";
}

static int below(const char *path) { return root && path && strncmp(path, root, strlen(root)) == 0; }
static int known(int fd) { return fd >= 0 && fd < FDS && ours[fd]; }

static int real_open(const char *path, int flags, mode_t mode) {
  static int (*next)(const char *, int, ...);
  if (!next) next = dlsym(RTLD_NEXT, "open64");
  return next(path, flags, mode);
}

/* Nonzero where the call is to fail; errno says how. */
static int reach(const char *name, int room) {
  int number = ++calls;
  if (logged) {
    int fd = real_open(logged, O_WRONLY | O_APPEND | O_CREAT, 0600);
    if (fd >= 0) { dprintf(fd, "%s\n", name); close(fd); }
  }
  if (at == 0 || number < at) return 0;
  if (strcmp(how, "kill") == 0) { if (number == at) kill(getpid(), SIGKILL); return 0; }
  if (strcmp(how, "ENOSPC") == 0) { errno = ENOSPC; return room; }
  errno = EIO;
  return number == at || strcmp(how, "DEAD") == 0;
}

static int note(int fd, const char *path) {
  if (fd >= 0 && fd < FDS) ours[fd] = below(path);
  return fd;
}

static int opened(const char *path, int flags, mode_t mode) {
  if (below(path) && reach(flags & O_CREAT ? "create" : "open", flags & O_CREAT)) return -1;
  return note(real_open(path, flags, mode), path);
}
#define MODE(flags) mode_t mode = 0; if ((flags) & O_CREAT) { va_list list; va_start(list, flags); mode = va_arg(list, mode_t); va_end(list); }
int open(const char *path, int flags, ...) { MODE(flags) return opened(path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags) return opened(path, flags, mode); }

#define CALL(type, name, args, given, mine, room) \
  type name args { \
    static type (*next) args; \
    if (!next) next = dlsym(RTLD_NEXT, #name); \
    if ((mine) && reach(#name, room)) return -1; \
    return next given; \
  }
CALL(ssize_t, write, (int fd, const void *from, size_t size), (fd, from, size), known(fd), 1)
CALL(ssize_t, writev, (int fd, const struct iovec *from, int count), (fd, from, count), known(fd), 1)
CALL(ssize_t, pwrite, (int fd, const void *from, size_t size, off_t place), (fd, from, size, place), known(fd), 1)
CALL(ssize_t, pwrite64, (int fd, const void *from, size_t size, off64_t place), (fd, from, size, place), known(fd), 1)
CALL(ssize_t, pwritev, (int fd, const struct iovec *from, int count, off_t place), (fd, from, count, place), known(fd), 1)
CALL(ssize_t, pwritev64, (int fd, const struct iovec *from, int count, off64_t place), (fd, from, count, place), known(fd), 1)
CALL(int, ftruncate, (int fd, off_t size), (fd, size), known(fd), 1)
CALL(int, ftruncate64, (int fd, off64_t size), (fd, size), known(fd), 1)
CALL(int, fsync, (int fd), (fd), known(fd), 0)
CALL(int, fdatasync, (int fd), (fd), known(fd), 0)
CALL(int, rename, (const char *from, const char *to), (from, to), below(from), 0)
CALL(int, link, (const char *from, const char *to), (from, to), below(to), 1)
CALL(int, symlink, (const char *from, const char *to), (from, to), below(to), 1)
CALL(int, unlink, (const char *path), (path), below(path), 0)
CALL(int, unlinkat, (int folder, const char *path, int flags), (folder, path, flags), known(folder) || below(path), 0)
CALL(int, rmdir, (const char *path), (path), below(path), 0)
CALL(int, mkdir, (const char *path, mode_t mode), (path, mode), below(path), 1)
