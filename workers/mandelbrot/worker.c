// The Mandelbrot set as a PNG: a CGI program (WAGI) in C that computes. /?x=-0.75&y=0&width=3&size=256
//
// Every pixel is counted up to STEPS_MAX, rows go out as they are done, and the PNG is written by hand: one palette, and
// deflate's stored blocks (RFC 1951 3.2.4), so that there is nothing to allocate.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE_MAX_PX = 1024, STEPS_MAX = 255 };

static uint32_t crc_table[256];
static uint32_t crc;
static uint32_t adler_a = 1, adler_b;

static void put(const void *data, size_t size) {
  const uint8_t *bytes = data;
  for (size_t i = 0; i < size; i++) crc = crc_table[(crc ^ bytes[i]) & 255] ^ (crc >> 8);
  fwrite(data, 1, size, stdout);
}

static void put32(uint32_t n) { put((uint8_t[]){n >> 24, n >> 16, n >> 8, n}, 4); }

// A chunk is its length, its type, its data, and the CRC of the latter two.
static void begin_chunk(const char *type, uint32_t size) {
  put32(size);
  crc = ~0u;
  put(type, 4);
}

static void end_chunk(void) { put32(~crc); }

static void put_row(const uint8_t *row, int size, int last) {
  uint16_t n = size;
  put((uint8_t[]){last, n, n >> 8, ~n, (uint16_t)~n >> 8}, 5);
  put(row, size);
  for (int i = 0; i < size; i++) {
    adler_a = (adler_a + row[i]) % 65521;
    adler_b = (adler_b + adler_a) % 65521;
  }
}

static uint8_t steps(double cx, double cy) {
  double x = 0, y = 0, xx = 0, yy = 0;
  int n = 0;
  while (n < STEPS_MAX && xx + yy <= 4) {
    y = 2 * x * y + cy;
    x = xx - yy + cx;
    xx = x * x;
    yy = y * y;
    n++;
  }
  return n;
}

static double number(const char *name, double otherwise) {
  size_t length = strlen(name);
  for (const char *at = getenv("QUERY_STRING"); at && *at; at = strchr(at, '&'), at += at != NULL)
    if (!strncmp(at, name, length) && at[length] == '=') return atof(at + length + 1);
  return otherwise;
}

int main(void) {
  double x = number("x", -0.75), y = number("y", 0), width = number("width", 3);
  int size = (int)number("size", 256);
  if (size < 1 || size > SIZE_MAX_PX || !(width > 0)) {
    printf("Status: 400\nContent-Type: text/plain\n\nsize is 1 to %d pixels, width is more than 0\n", SIZE_MAX_PX);
    return 0;
  }
  printf("Content-Type: image/png\nCache-Control: public, max-age=86400\n\n");

  for (uint32_t n = 0; n < 256; n++) {
    uint32_t c = n;
    for (int bit = 0; bit < 8; bit++) c = c & 1 ? 0xedb88320u ^ (c >> 1) : c >> 1;
    crc_table[n] = c;
  }
  put("\x89PNG\r\n\x1a\n", 8);
  begin_chunk("IHDR", 13);
  put32(size);
  put32(size);
  put("\x08\x03\0\0", 5);  // eight bits of a palette; the zero that ends the string counts
  end_chunk();
  begin_chunk("PLTE", 256 * 3);
  for (int n = 0; n < 256; n++) put(n == STEPS_MAX ? (uint8_t[3]){0} : (uint8_t[]){n * 7, n * 3, 60 + n * 11}, 3);
  end_chunk();

  begin_chunk("IDAT", 2 + size * (5 + 1 + size) + 4);
  put("\x78\x01", 2);
  uint8_t row[1 + SIZE_MAX_PX] = {0};  // a row begins with its filter: none
  for (int j = 0; j < size; j++) {
    double cy = y + width * (0.5 - (j + 0.5) / size);
    for (int i = 0; i < size; i++) row[1 + i] = steps(x + width * ((i + 0.5) / size - 0.5), cy);
    put_row(row, 1 + size, j == size - 1);
  }
  put32(adler_b << 16 | adler_a);
  end_chunk();
  begin_chunk("IEND", 0);
  end_chunk();
}
