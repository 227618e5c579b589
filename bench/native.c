/*
 * The native limit of a linear merge of two BF16 files: decoding, weighted float32 sum, rounding to nearest even, and XXH3-128
 * digests of leaves of 256 KiB of both inputs and the output, by THREADS threads with pread and pwrite. No header, no atomic rename.
 * Digests use vectors of 128 bits, as the xxhash libraries of Linux distributions do; the rest is up to the compiler.
 *
 *   native THREADS OUT A B     prints the digest of the first leaf of A
 *   native evict FILE...       drops files from the page cache, for a cold start
 */
#define _GNU_SOURCE
#include <emmintrin.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LEAF = 1 << 18, STRIPE = 64, SECRET_BYTES = 192, STRIPES_A_BLOCK = (SECRET_BYTES - STRIPE) / 8, MOST_THREADS = 256 };

static const uint8_t SECRET[SECRET_BYTES] = {
  0xb8, 0xfe, 0x6c, 0x39, 0x23, 0xa4, 0x4b, 0xbe, 0x7c, 0x01, 0x81, 0x2c, 0xf7, 0x21, 0xad, 0x1c, 0xde, 0xd4, 0x6d, 0xe9,
  0x83, 0x90, 0x97, 0xdb, 0x72, 0x40, 0xa4, 0xa4, 0xb7, 0xb3, 0x67, 0x1f, 0xcb, 0x79, 0xe6, 0x4e, 0xcc, 0xc0, 0xe5, 0x78,
  0x82, 0x5a, 0xd0, 0x7d, 0xcc, 0xff, 0x72, 0x21, 0xb8, 0x08, 0x46, 0x74, 0xf7, 0x43, 0x24, 0x8e, 0xe0, 0x35, 0x90, 0xe6,
  0x81, 0x3a, 0x26, 0x4c, 0x3c, 0x28, 0x52, 0xbb, 0x91, 0xc3, 0x00, 0xcb, 0x88, 0xd0, 0x65, 0x8b, 0x1b, 0x53, 0x2e, 0xa3,
  0x71, 0x64, 0x48, 0x97, 0xa2, 0x0d, 0xf9, 0x4e, 0x38, 0x19, 0xef, 0x46, 0xa9, 0xde, 0xac, 0xd8, 0xa8, 0xfa, 0x76, 0x3f,
  0xe3, 0x9c, 0x34, 0x3f, 0xf9, 0xdc, 0xbb, 0xc7, 0xc7, 0x0b, 0x4f, 0x1d, 0x8a, 0x51, 0xe0, 0x4b, 0xcd, 0xb4, 0x59, 0x31,
  0xc8, 0x9f, 0x7e, 0xc9, 0xd9, 0x78, 0x73, 0x64, 0xea, 0xc5, 0xac, 0x83, 0x34, 0xd3, 0xeb, 0xc3, 0xc5, 0x81, 0xa0, 0xff,
  0xfa, 0x13, 0x63, 0xeb, 0x17, 0x0d, 0xdd, 0x51, 0xb7, 0xf0, 0xda, 0x49, 0xd3, 0x16, 0x55, 0x26, 0x29, 0xd4, 0x68, 0x9e,
  0x2b, 0x16, 0xbe, 0x58, 0x7d, 0x47, 0xa1, 0xfc, 0x8f, 0xf8, 0xb8, 0xd1, 0x7a, 0xd0, 0x31, 0xce, 0x45, 0xcb, 0x3a, 0x8f,
  0x95, 0x16, 0x04, 0x28, 0xaf, 0xd7, 0xfb, 0xca, 0xbb, 0x4b, 0x40, 0x7e,
};
static const uint64_t P32_1 = 0x9e3779b1, P32_2 = 0x85ebca77, P32_3 = 0xc2b2ae3d, P64_1 = 0x9e3779b185ebca87,
                      P64_2 = 0xc2b2ae3d27d4eb4f, P64_3 = 0x165667b19e3779f9, P64_4 = 0x85ebca77c2b2ae63,
                      P64_5 = 0x27d4eb2f165667c5;

static inline void accumulate(__m128i sums[4], const uint8_t *data, const uint8_t *key) {
  for (int i = 0; i < 4; i++) {
    __m128i x = _mm_loadu_si128((const __m128i *)data + i), k = _mm_xor_si128(x, _mm_loadu_si128((const __m128i *)key + i));
    __m128i product = _mm_mul_epu32(k, _mm_shuffle_epi32(k, 0x31));
    sums[i] = _mm_add_epi64(sums[i], _mm_add_epi64(product, _mm_shuffle_epi32(x, 0x4e)));
  }
}

static inline void scramble(__m128i sums[4], const uint8_t *key) {
  __m128i prime = _mm_set1_epi32((int)P32_1);
  for (int i = 0; i < 4; i++) {
    __m128i x = _mm_xor_si128(sums[i], _mm_srli_epi64(sums[i], 47));
    x = _mm_xor_si128(x, _mm_loadu_si128((const __m128i *)key + i));
    __m128i high = _mm_mul_epu32(_mm_shuffle_epi32(x, 0x31), prime);
    sums[i] = _mm_add_epi64(_mm_mul_epu32(x, prime), _mm_slli_epi64(high, 32));
  }
}

static uint64_t merge(const uint64_t sums[8], const uint8_t *key, uint64_t start) {
  for (int i = 0; i < 4; i++) {
    uint64_t words[2];
    memcpy(words, key + 16 * i, 16);
    unsigned __int128 product = (unsigned __int128)(sums[2 * i] ^ words[0]) * (sums[2 * i + 1] ^ words[1]);
    start += (uint64_t)product ^ (uint64_t)(product >> 64);
  }
  start = (start ^ (start >> 37)) * 0x165667919e3779f9;
  return start ^ (start >> 32);
}

/* XXH3-128 with seed 0 of more than 240 bytes. */
static void digest(const uint8_t *p, size_t length, uint64_t result[2]) {
  __m128i sums[4] = {_mm_set_epi64x(P64_1, P32_3), _mm_set_epi64x(P64_3, P64_2), _mm_set_epi64x(P32_2, P64_4), _mm_set_epi64x(P32_1, P64_5)};
  size_t stripes = (length - 1) / STRIPE, blocks = stripes / STRIPES_A_BLOCK, rest = stripes % STRIPES_A_BLOCK;
  const uint8_t *last = p + length - STRIPE;
  for (size_t block = 0; block < blocks; block++) {
    for (size_t i = 0; i < STRIPES_A_BLOCK; i++, p += STRIPE) accumulate(sums, p, SECRET + 8 * i);
    scramble(sums, SECRET + SECRET_BYTES - STRIPE);
  }
  for (size_t i = 0; i < rest; i++, p += STRIPE) accumulate(sums, p, SECRET + 8 * i);
  accumulate(sums, last, SECRET + SECRET_BYTES - STRIPE - 7);
  uint64_t words[8];
  memcpy(words, sums, sizeof words);
  result[0] = merge(words, SECRET + 11, length * P64_1);
  result[1] = merge(words, SECRET + SECRET_BYTES - STRIPE - 11, ~(length * P64_2));
}

static int threads, a_file, b_file, out_file;
static off_t size;
static uint64_t mixed[MOST_THREADS][2], first[2];

static inline float decode(uint16_t bits) {
  union { uint32_t bits; float value; } x = {(uint32_t)bits << 16};
  return x.value;
}

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static void *work(void *argument) {
  long thread = (long)argument;
  uint16_t *a = aligned_alloc(4096, LEAF), *b = aligned_alloc(4096, LEAF), *out = aligned_alloc(4096, LEAF);
  uint64_t all[2] = {0, 0}, one[2];
  for (off_t at = thread * (off_t)LEAF; at < size; at += threads * (off_t)LEAF) {
    size_t n = size - at < LEAF ? (size_t)(size - at) : LEAF;
    if (pread(a_file, a, n, at) != (ssize_t)n || pread(b_file, b, n, at) != (ssize_t)n) fail("read");
    for (size_t i = 0; i < n / 2; i++) {
      union { float value; uint32_t bits; } x = {0.5f * decode(a[i]) + 0.5f * decode(b[i])};
      out[i] = (uint16_t)((x.bits + 0x7fff + ((x.bits >> 16) & 1)) >> 16);
    }
    const uint16_t *buffers[3] = {a, b, out};
    for (int k = 0; k < 3 && n > 240; k++) {
      digest((const uint8_t *)buffers[k], n, one);
      all[0] ^= one[0];
      all[1] ^= one[1];
      if (k == 0 && at == 0) memcpy(first, one, sizeof one);
    }
    if (pwrite(out_file, out, n, at) != (ssize_t)n) fail("write");
  }
  memcpy(mixed[thread], all, sizeof all);
  return 0;
}

static int evict(int count, char **files) {
  for (int i = 0; i < count; i++) {
    int file = open(files[i], O_RDONLY);
    // Pages that are not written yet stay.
    if (file < 0 || fdatasync(file) != 0 || posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED) != 0) fail(files[i]);
    close(file);
  }
  return 0;
}

int main(int count, char **words) {
  if (count > 2 && strcmp(words[1], "evict") == 0) return evict(count - 2, words + 2);
  if (count != 5 || (threads = atoi(words[1])) < 1 || threads > MOST_THREADS) return 2;
  out_file = open(words[2], O_CREAT | O_TRUNC | O_RDWR, 0644);
  a_file = open(words[3], O_RDONLY);
  b_file = open(words[4], O_RDONLY);
  struct stat status;
  if (out_file < 0 || a_file < 0 || b_file < 0 || fstat(a_file, &status) != 0) fail("open");
  size = status.st_size;
  pthread_t started[MOST_THREADS];
  for (long i = 0; i < threads; i++)
    if (pthread_create(started + i, 0, work, (void *)i) != 0) fail("thread");
  for (int i = 0; i < threads; i++) {
    pthread_join(started[i], 0);
    mixed[0][0] ^= i > 0 ? mixed[i][0] : 0;
    mixed[0][1] ^= i > 0 ? mixed[i][1] : 0;
  }
  // The digests of all leaves, so that no compiler leaves them out.
  fprintf(stderr, "%016lx%016lx\n", mixed[0][1], mixed[0][0]);
  printf("%016lx%016lx\n", first[1], first[0]);
  return 0;
}
