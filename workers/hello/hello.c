/* A wasi:http/incoming-handler worker in freestanding C, without libc and without generated bindings.
 *
 * Answers GREETING " from <EDGESIM_POP> v<EDGESIM_VERSION>" to every request. Paths for tests: /echo streams the request body
 * back, /headers and /env list what the worker sees, /query answers with the query, /count answers with a global that it increments (1 every time, since
 * each request gets a fresh instance), /teapot answers 418. Memory, allocator and component wrapper: ../proxy.wat.
 */
#ifndef GREETING
#define GREETING "hello"
#endif

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;

#define IMPORT(module, name) __attribute__((import_module(module), import_name(name)))
#define TYPES "wasi:http/types@0.2.0"
#define STREAMS "wasi:io/streams@0.2.0"

IMPORT("env", "reset") void reset(void);
IMPORT("wasi:cli/environment@0.2.0", "get-environment") void get_environment(u32 *list);
IMPORT(STREAMS, "[method]input-stream.blocking-read") void blocking_read(u32 stream, u64 size, u32 *result);
IMPORT(STREAMS, "[method]output-stream.blocking-write-and-flush") void blocking_write(u32 stream, const void *data, u32 size, u32 *result);
IMPORT(STREAMS, "[resource-drop]output-stream") void drop_output_stream(u32 stream);
IMPORT(TYPES, "[constructor]fields") u32 new_fields(void);
IMPORT(TYPES, "[method]fields.append") void fields_append(u32 self, const char *name, u32 name_size, const char *value, u32 value_size, u32 *result);
IMPORT(TYPES, "[method]fields.entries") void fields_entries(u32 self, u32 *list);
IMPORT(TYPES, "[method]incoming-request.path-with-query") void path_with_query(u32 self, u32 *option);
IMPORT(TYPES, "[method]incoming-request.headers") u32 request_headers(u32 self);
IMPORT(TYPES, "[method]incoming-request.consume") void request_consume(u32 self, u32 *result);
IMPORT(TYPES, "[method]incoming-body.stream") void body_stream(u32 self, u32 *result);
IMPORT(TYPES, "[constructor]outgoing-response") u32 new_response(u32 fields);
IMPORT(TYPES, "[method]outgoing-response.set-status-code") u32 set_status_code(u32 self, u32 status);
IMPORT(TYPES, "[method]outgoing-response.body") void response_body(u32 self, u32 *result);
IMPORT(TYPES, "[method]outgoing-body.write") void body_write(u32 self, u32 *result);
IMPORT(TYPES, "[static]outgoing-body.finish") void body_finish(u32 self, u32 has_trailers, u32 trailers, u32 *result);
IMPORT(TYPES, "[static]response-outparam.set") void outparam_set(u32 outparam, u32 is_err, u32 response, u32 a, u64 b, u32 c, u32 d, u32 e, u32 f);

static u32 slot[16];        /* where host functions put results that do not fit into a register */
static char *const text = (char *)0x10000; /* the answer, when it is small: between stack and allocator, see ../proxy.wat */
#define TEXT_SIZE 32768
static u32 text_size;
static u32 count;

static void add(const char *data, u32 size) {
  while (size-- && text_size < TEXT_SIZE) text[text_size++] = *data++;
}

static u32 length(const char *s) {
  u32 n = 0;
  while (s[n]) n++;
  return n;
}

static void say(const char *s) { add(s, length(s)); }

static int equal(const char *s, const char *data, u32 size) {
  if (length(s) != size) return 0;
  while (size--)
    if (s[size] != data[size]) return 0;
  return 1;
}

/* A list<tuple<string, ...>> as lines of "name<separator>value". */
static void list(const u32 *entries, u32 n, const char *separator) {
  for (; n--; entries += 4) {
    add((const char *)entries[0], entries[1]);
    say(separator);
    add((const char *)entries[2], entries[3]);
    say("\n");
  }
}

static void greet(void) {
  const char *pop = "nowhere", *version = "0";
  u32 pop_size = 7, version_size = 1;
  get_environment(slot);
  const u32 *entry = (const u32 *)slot[0];
  for (u32 n = slot[1]; n--; entry += 4) {
    if (equal("EDGESIM_POP", (const char *)entry[0], entry[1])) pop = (const char *)entry[2], pop_size = entry[3];
    if (equal("EDGESIM_VERSION", (const char *)entry[0], entry[1])) version = (const char *)entry[2], version_size = entry[3];
  }
  say(GREETING " from ");
  add(pop, pop_size);
  say(" v");
  add(version, version_size);
  say("\n");
}

static void echo(u32 request, u32 out) {
  request_consume(request, slot);
  if (slot[0] & 0xff) __builtin_trap();
  body_stream(slot[1], slot);
  if (slot[0] & 0xff) __builtin_trap();
  u32 in = slot[1];
  for (;;) {
    reset(); /* the last chunk is not needed any more */
    blocking_read(in, 65536, slot);
    if (slot[0] & 0xff) return; /* stream-error: closed */
    u32 data = slot[1], size = slot[2];
    if (!size) continue;
    blocking_write(out, (const void *)data, size, slot);
    if (slot[0] & 0xff) return;
  }
}

__attribute__((export_name("wasi:http/incoming-handler@0.2.0#handle"))) void handle(u32 request, u32 outparam) {
  path_with_query(request, slot);
  const char *path = (const char *)slot[1];
  u32 size = 0;
  if (slot[0] & 0xff)
    while (size < slot[2] && path[size] != '?') size++;

  u32 streaming = equal("/echo", path, size), status = 200;
  if (streaming) {
  } else if (equal("/headers", path, size)) {
    fields_entries(request_headers(request), slot);
    list((const u32 *)slot[0], slot[1], ": ");
  } else if (equal("/env", path, size)) {
    get_environment(slot);
    list((const u32 *)slot[0], slot[1], "=");
  } else if (equal("/query", path, size)) {
    if (size < slot[2]) add(path + size + 1, slot[2] - size - 1);
  } else if (equal("/count", path, size)) {
    text[text_size++] = '0' + ++count;
  } else if (equal("/teapot", path, size)) {
    status = 418;
    say("short and stout\n");
  } else {
    greet();
  }

  u32 fields = new_fields();
  fields_append(fields, "content-type", 12, "text/plain", 10, slot);
  u32 response = new_response(fields);
  if (status != 200) set_status_code(response, status);
  response_body(response, slot);
  u32 body = slot[1];
  outparam_set(outparam, 0, response, 0, 0, 0, 0, 0, 0);
  body_write(body, slot);
  u32 out = slot[1];
  if (streaming)
    echo(request, out);
  else
    blocking_write(out, text, text_size, slot);
  drop_output_stream(out);
  body_finish(body, 0, 0, slot);
}
