/* The conformance guest in C with wasi-libc: a CGI program. Routes: ../README.md. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static const char *variable(const char *name) {
  const char *value = getenv(name);
  return value ? value : "";
}

static long number(const char *name) {
  const char *query = variable("QUERY_STRING");
  size_t size = strlen(name);
  for (const char *at = query; at; at = strchr(at, '&') ? strchr(at, '&') + 1 : NULL)
    if (!strncmp(at, name, size) && at[size] == '=') return atol(at + size + 1);
  return 0;
}

static void head(const char *type) { printf("Content-Type: %s\n\n", type); }

static void json(const char *s, size_t size) {
  putchar('"');
  for (size_t i = 0; i < size; i++) {
    if (s[i] == '"' || s[i] == '\\') putchar('\\');
    if ((unsigned char)s[i] >= 0x20) putchar(s[i]);
  }
  putchar('"');
}

static void environment(void) {
  head("application/json");
  putchar('{');
  for (char **entry = environ; *entry; entry++) {
    const char *equals = strchr(*entry, '=');
    if (entry != environ) putchar(',');
    json(*entry, equals - *entry);
    putchar(':');
    json(equals + 1, strlen(equals + 1));
  }
  putchar('}');
}

static void copy(int from) {
  static char piece[65536];
  fflush(stdout);
  for (ssize_t n; (n = read(from, piece, sizeof piece)) > 0;)
    for (ssize_t at = 0, wrote; at < n; at += wrote)
      if ((wrote = write(1, piece + at, n - at)) < 0) exit(1);
}

static void echo(void) {
  head(*variable("CONTENT_TYPE") ? variable("CONTENT_TYPE") : "application/octet-stream");
  copy(0);
}

static void file(void) {
  const char *query = variable("QUERY_STRING");
  struct stat about;
  FILE *found = strncmp(query, "path=", 5) ? NULL : fopen(query + 5, "rb");
  if (!found || fstat(fileno(found), &about) || !S_ISREG(about.st_mode)) {
    printf("Status: 404\nContent-Type: text/plain\n\nno such file");
    return;
  }
  head("application/octet-stream");
  copy(fileno(found));
}

static void stream(void) {
  long chunks = number("chunks"), size = number("size");
  char *chunk = malloc(size + 1);
  head("application/octet-stream");
  for (long i = 0; i < chunks; i++) {
    if (size)
      memset(chunk, (int)i, size), fwrite(chunk, 1, size, stdout);
    else
      printf("chunk %ld\n", i);
    fflush(stdout);
  }
}

static int recurse(int depth) { return recurse(depth + 1) + depth; }

int main(void) {
  const char *path = variable("PATH_INFO");
#define ROUTE(name) else if (!strcmp(path, name))
  if (0) {
  }
  ROUTE("/hello") head("text/plain"), printf("hello from c");
  ROUTE("/echo") echo();
  ROUTE("/env") environment();
  ROUTE("/file") file();
  ROUTE("/stream") stream();
  ROUTE("/status") printf("Status: %ld\nContent-Type: text/plain\n\nas you wish", number("code"));
  ROUTE("/timer") {
    long ms = number("ms");
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
    head("text/plain"), printf("waited");
  }
  ROUTE("/random") {
    unsigned char bytes[16];
    getentropy(bytes, sizeof bytes);
    head("text/plain");
    for (size_t i = 0; i < sizeof bytes; i++) printf("%02x", bytes[i]);
  }
  ROUTE("/log") {
    for (long i = 0, n = number("n"); i < n; i++) fprintf(stderr, "log line %ld\n", i);
    head("text/plain"), printf("%ld", number("n"));
  }
  ROUTE("/spin") for (;;) __asm__ volatile("");
  ROUTE("/trap") __builtin_trap();
  ROUTE("/recurse") return recurse(0);
  ROUTE("/oom") {
    for (char *block; (block = malloc(1 << 20)); *(volatile char *)block = 1);
    __builtin_trap();
  }
  else printf("Status: 404\nContent-Type: text/plain\n\nno such route");
  return 0;
}
