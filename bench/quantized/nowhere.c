/*
 * For runs over sparse files that are larger than the disk: a library that is loaded before others (LD_PRELOAD). Large
 * writes go nowhere, what was read leaves the page cache at once, and every disk has room.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/statfs.h>
#include <unistd.h>

/* Headers and small files are written. */
#define LARGE 65536

ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t offset) {
  static ssize_t (*next)(int, const void *, size_t, off64_t);
  if (!next) next = dlsym(RTLD_NEXT, "pwrite64");
  return count >= LARGE ? (ssize_t)count : next(file, bytes, count, offset);
}

ssize_t pread64(int file, void *bytes, size_t count, off64_t offset) {
  static ssize_t (*next)(int, void *, size_t, off64_t);
  if (!next) next = dlsym(RTLD_NEXT, "pread64");
  ssize_t got = next(file, bytes, count, offset);
  if (count >= LARGE) posix_fadvise(file, offset, count, POSIX_FADV_DONTNEED);
  return got;
}

static int roomy(struct statfs64 *about) {
  about->f_bavail = about->f_bfree = about->f_blocks = 1UL << 40;
  return 0;
}

int statfs64(const char *path, struct statfs64 *about) {
  static int (*next)(const char *, struct statfs64 *);
  if (!next) next = dlsym(RTLD_NEXT, "statfs64");
  return next(path, about) || roomy(about);
}

int statfs(const char *path, struct statfs *about) { return statfs64(path, (struct statfs64 *)about); }
