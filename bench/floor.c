/*
 * The floor of a merge: as many threads read the same inputs and write the same number of bytes, and nothing else.
 *
 *   floor THREADS SYNC BYTES OUT IN...
 *
 * Chunks of 1 MiB, dealt to the threads in turn: chunk k of every input is read, then chunk k of the output is written.
 * SYNC 1: fsync before the end. No arithmetic, no digests, no header, no lineage, no atomic name.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHUNK = 1 << 20, MOST_INPUTS = 1024, MOST_THREADS = 512 };

static int threads, inputs, out, in[MOST_INPUTS];
static off_t sizes[MOST_INPUTS], bytes, longest;

static void die(const char *what) {
  perror(what);
  exit(1);
}

static size_t length(off_t size, off_t at) {
  return at >= size ? 0 : size - at < CHUNK ? (size_t)(size - at) : CHUNK;
}

static void whole(ssize_t (*move)(int, char *, size_t, off_t), int file, char *buffer, size_t n, off_t at) {
  for (size_t done = 0; done < n;) {
    ssize_t moved = move(file, buffer + done, n - done, at + (off_t)done);
    if (moved <= 0) die("a chunk");
    done += (size_t)moved;
  }
}

static ssize_t reading(int file, char *buffer, size_t n, off_t at) { return pread(file, buffer, n, at); }
static ssize_t writing(int file, char *buffer, size_t n, off_t at) { return pwrite(file, buffer, n, at); }

static void *work(void *argument) {
  long turn = (long)argument;
  char *buffer = aligned_alloc(4096, CHUNK);
  if (!buffer) die("memory");
  memset(buffer, 1, CHUNK);
  for (off_t at = turn * (off_t)CHUNK; at < longest; at += (off_t)threads * CHUNK) {
    for (int i = 0; i < inputs; i++) whole(reading, in[i], buffer, length(sizes[i], at), at);
    whole(writing, out, buffer, length(bytes, at), at);
  }
  return NULL;
}

int main(int count, char **words) {
  if (count < 6) return fprintf(stderr, "floor THREADS SYNC BYTES OUT IN...\n"), 2;
  threads = atoi(words[1]);
  bytes = longest = atoll(words[3]);
  inputs = count - 5;
  if (threads < 1 || threads > MOST_THREADS || inputs > MOST_INPUTS) return 2;
  out = open(words[4], O_CREAT | O_TRUNC | O_WRONLY, 0644);
  if (out < 0) die(words[4]);
  for (int i = 0; i < inputs; i++) {
    struct stat found;
    in[i] = open(words[5 + i], O_RDONLY);
    if (in[i] < 0 || fstat(in[i], &found)) die(words[5 + i]);
    sizes[i] = found.st_size;
    if (sizes[i] > longest) longest = sizes[i];
  }
  pthread_t started[MOST_THREADS];
  for (long turn = 0; turn < threads; turn++)
    if (pthread_create(started + turn, NULL, work, (void *)turn)) die("a thread");
  for (int turn = 0; turn < threads; turn++) pthread_join(started[turn], NULL);
  if (atoi(words[2]) && fsync(out)) die("fsync");
  return 0;
}
