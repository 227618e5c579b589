#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct buffer {
  char *data;
  size_t size;
  size_t capacity;
};

static int buffer_reserve (struct buffer *buf, size_t size)
{
  char *data;

  if (size <= buf->capacity)
    return 0;
  data = realloc (buf->data, size * 2);
  if (data == NULL)
    return -1;
  buf->data = data;
  buf->capacity = size * 2;
  return 0;
}

/* Append the string to the end of the buffer. */
int buffer_append (struct buffer *buf, const char *string)
{
  size_t length = strlen (string);

  if (buffer_reserve (buf, buf->size + length + 1) != 0)
    return -1;
  memcpy (buf->data + buf->size, string, length + 1);
  buf->size += length;
  return 0;
}

void buffer_free (struct buffer *buf)
{
  free (buf->data);
  memset (buf, 0, sizeof (*buf));
}
