/*
 * Runs a command and writes to descriptor 3: a line with its process id at its start, and one with seconds of wall
 * clock, user and system time at its end. Node can't ask for a child's rusage; wait4 can.
 *
 *   timed COMMAND ARGUMENT...
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double seconds(struct timeval t) { return (double)t.tv_sec + (double)t.tv_usec / 1e6; }

int main(int count, char **words) {
  if (count < 2) return 2;
  struct timespec before, after;
  clock_gettime(CLOCK_MONOTONIC, &before);
  pid_t child = fork();
  if (child < 0) return perror("fork"), 1;
  if (child == 0) {
    close(3);
    execvp(words[1], words + 1);
    perror(words[1]);
    _exit(127);
  }
  dprintf(3, "%d\n", child);
  int status;
  struct rusage used;
  if (wait4(child, &status, 0, &used) < 0) return perror("wait4"), 1;
  clock_gettime(CLOCK_MONOTONIC, &after);
  double wall = (double)(after.tv_sec - before.tv_sec) + (double)(after.tv_nsec - before.tv_nsec) / 1e9;
  dprintf(3, "%.4f %.4f %.4f\n", wall, seconds(used.ru_utime), seconds(used.ru_stime));
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
