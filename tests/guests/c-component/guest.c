/* The conformance guest in freestanding C: the canonical ABI by hand, without generated bindings. Routes: ../README.md.
 *
 * Host functions put what does not fit into a register at `slot`; strings and lists come through cabi_realloc, a bump
 * allocator that each piece of a body resets.
 */
#include "../guest.h"

#define IMPORT(module, name) __attribute__((import_module(module "@0.2.12"), import_name(name)))
#define HTTP "wasi:http/types"
#define STREAMS "wasi:io/streams"
#define POLL "wasi:io/poll"
#define FILES "wasi:filesystem/types"

IMPORT(STREAMS, "[method]input-stream.blocking-read") void blocking_read(u32 self, u64 size, void *result);
IMPORT(STREAMS, "[resource-drop]input-stream") void drop_input(u32 self);
IMPORT(STREAMS, "[method]output-stream.check-write") void check_write(u32 self, void *result);
IMPORT(STREAMS, "[method]output-stream.write") void stream_write(u32 self, const void *data, u32 size, void *result);
IMPORT(STREAMS, "[method]output-stream.blocking-flush") void blocking_flush(u32 self, void *result);
IMPORT(STREAMS, "[method]output-stream.blocking-write-and-flush") void blocking_write(u32 self, const void *data, u32 size, void *result);
IMPORT(STREAMS, "[method]output-stream.subscribe") u32 subscribe_output(u32 self);
IMPORT(STREAMS, "[resource-drop]output-stream") void drop_output(u32 self);
IMPORT(POLL, "[method]pollable.block") void block(u32 self);
IMPORT(POLL, "[resource-drop]pollable") void drop_pollable(u32 self);
IMPORT("wasi:clocks/monotonic-clock", "subscribe-duration") u32 subscribe_duration(u64 ns);
IMPORT("wasi:random/random", "get-random-bytes") void get_random_bytes(u64 size, void *list);
IMPORT("wasi:cli/environment", "get-environment") void get_environment(void *list);
IMPORT("wasi:cli/stderr", "get-stderr") u32 get_stderr(void);
IMPORT("wasi:filesystem/preopens", "get-directories") void get_directories(void *list);
IMPORT(FILES, "[method]descriptor.open-at") void open_at(u32 self, u32 path_flags, const u8 *path, u32 size, u32 open_flags, u32 flags, void *result);
IMPORT(FILES, "[method]descriptor.read-via-stream") void read_via_stream(u32 self, u64 offset, void *result);
IMPORT(FILES, "[resource-drop]descriptor") void drop_descriptor(u32 self);
IMPORT(HTTP, "[constructor]fields") u32 new_fields(void);
IMPORT(HTTP, "[resource-drop]fields") void drop_fields(u32 self);
IMPORT(HTTP, "[method]fields.append") void fields_append(u32 self, const void *name, u32 name_size, const void *value, u32 value_size, void *result);
IMPORT(HTTP, "[method]fields.get") void fields_get(u32 self, const void *name, u32 size, void *list);
IMPORT(HTTP, "[method]fields.entries") void fields_entries(u32 self, void *list);
IMPORT(HTTP, "[method]incoming-request.path-with-query") void path_with_query(u32 self, void *option);
IMPORT(HTTP, "[method]incoming-request.headers") u32 request_headers(u32 self);
IMPORT(HTTP, "[method]incoming-request.consume") void request_consume(u32 self, void *result);
IMPORT(HTTP, "[resource-drop]incoming-request") void drop_request(u32 self);
IMPORT(HTTP, "[method]incoming-body.stream") void body_stream(u32 self, void *result);
IMPORT(HTTP, "[static]incoming-body.finish") u32 incoming_finish(u32 body);
IMPORT(HTTP, "[method]future-trailers.subscribe") u32 subscribe_trailers(u32 self);
IMPORT(HTTP, "[method]future-trailers.get") void trailers_get(u32 self, void *option);
IMPORT(HTTP, "[resource-drop]future-trailers") void drop_future_trailers(u32 self);
IMPORT(HTTP, "[constructor]outgoing-response") u32 new_response(u32 fields);
IMPORT(HTTP, "[method]outgoing-response.set-status-code") u32 set_status_code(u32 self, u32 status);
IMPORT(HTTP, "[method]outgoing-response.body") void response_body(u32 self, void *result);
IMPORT(HTTP, "[method]outgoing-body.write") void body_write(u32 self, void *result);
IMPORT(HTTP, "[static]outgoing-body.finish") void body_finish(u32 body, u32 has_trailers, u32 trailers, void *result);
IMPORT(HTTP, "[static]response-outparam.set") void outparam_set(u32 outparam, u32 is_err, u32 response, u32 a, u64 b, u32 c, u32 d, u32 e, u32 f);
IMPORT(HTTP, "[constructor]outgoing-request") u32 new_request(u32 fields);
IMPORT(HTTP, "[method]outgoing-request.set-scheme") u32 set_scheme(u32 self, u32 some, u32 which, const void *other, u32 size);
IMPORT(HTTP, "[method]outgoing-request.set-authority") u32 set_authority(u32 self, u32 some, const void *text, u32 size);
IMPORT(HTTP, "[method]outgoing-request.set-path-with-query") u32 set_path(u32 self, u32 some, const void *text, u32 size);
IMPORT("wasi:http/outgoing-handler", "handle") void send(u32 request, u32 has_options, u32 options, void *result);
IMPORT(HTTP, "[method]future-incoming-response.subscribe") u32 subscribe_response(u32 self);
IMPORT(HTTP, "[method]future-incoming-response.get") void future_get(u32 self, void *option);
IMPORT(HTTP, "[method]incoming-response.status") u32 response_status(u32 self);
IMPORT(HTTP, "[method]incoming-response.headers") u32 response_headers(u32 self);
IMPORT(HTTP, "[method]incoming-response.consume") void response_consume(u32 self, void *result);

static union { u8 b[64]; u32 w[16]; u64 d[8]; } slot;
static u8 text[16384]; /* a small answer */
static u32 text_size, count;

/* --- text */

static int equal(str a, str b) {
  if (a.size != b.size) return 0;
  for (u32 i = 0; i < a.size; i++)
    if (a.at[i] != b.at[i]) return 0;
  return 1;
}

static void add(str s) {
  for (u32 i = 0; i < s.size && text_size < sizeof text; i++) text[text_size++] = s.at[i];
}

static void say(const char *s) { add(lit(s)); }

static void say_number(u32 n) {
  u8 digits[10], i = 10;
  do digits[--i] = '0' + n % 10;
  while (n /= 10);
  add((str){digits + i, 10 - i});
}

static void say_json(str s) { /* bytes from 0x80 on are passed on as they are */
  say("\"");
  for (u32 i = 0; i < s.size; i++) {
    u8 c = s.at[i];
    if (c == '"' || c == '\\') say("\\");
    if (c >= 0x20) add((str){&c, 1});
  }
  say("\"");
}

/* A list<tuple<string, string>> as JSON: pairs, or an object. */
static void say_pairs(const u32 *entry, u32 n, int object) {
  say(object ? "{" : "[");
  for (u32 i = 0; i < n; i++, entry += 4) {
    if (i) say(", ");
    if (!object) say("[");
    say_json((str){(const u8 *)entry[0], entry[1]});
    say(object ? ": " : ", ");
    say_json((str){(const u8 *)entry[2], entry[3]});
    if (!object) say("]");
  }
  say(object ? "}" : "]");
}

static u32 nibble(u8 c) { return c <= '9' ? c - '0' : (c & 0xdf) - 'A' + 10; }

/* The decoded value of a parameter of the query. */
static str parameter(str query, const char *name) {
  str wanted = lit(name);
  for (u32 at = 0; at < query.size;) {
    u32 end = at, equals = 0;
    while (end < query.size && query.at[end] != '&') {
      if (!equals && query.at[end] == '=') equals = end;
      end++;
    }
    if (equals && equal(wanted, (str){query.at + at, equals - at})) {
      u8 *to = cabi_realloc(0, 0, 1, end - equals);
      str value = {to, 0};
      for (u32 i = equals + 1; i < end; i++) {
        u8 c = query.at[i];
        if (c == '%' && i + 2 < end) c = nibble(query.at[i + 1]) << 4 | nibble(query.at[i + 2]), i += 2;
        to[value.size++] = c;
      }
      return value;
    }
    at = end + 1;
  }
  return (str){0, 0};
}

static u32 number(str s) {
  u32 n = 0;
  for (u32 i = 0; i < s.size; i++) n = n * 10 + (s.at[i] - '0');
  return n;
}

/* --- streams */

static void wait_for(u32 pollable) {
  block(pollable);
  drop_pollable(pollable);
}

/* Writes any number of bytes, waiting for room. */
static int put(u32 out, const u8 *data, u32 size) {
  while (size) {
    check_write(out, &slot);
    if (slot.b[0]) return 0;
    u64 room = slot.d[1];
    if (!room) {
      wait_for(subscribe_output(out));
      continue;
    }
    u32 n = room < size ? (u32)room : size;
    stream_write(out, data, n, &slot);
    if (slot.b[0]) return 0;
    data += n, size -= n;
  }
  return 1;
}

static void copy(u32 in, u32 out) {
  u8 *mark = heap;
  for (;;) {
    heap = mark;
    blocking_read(in, PAGE, &slot);
    if (slot.b[0]) return; /* closed */
    if (!put(out, (const u8 *)slot.w[1], slot.w[2])) return;
  }
}

static u32 stream_of(u32 body) {
  body_stream(body, &slot);
  if (slot.b[0]) __builtin_trap();
  return slot.w[1];
}

typedef struct { u32 body, stream; } sent;

static sent head(u32 outparam, u32 status, str type) {
  u32 fields = new_fields();
  if (type.size) fields_append(fields, "content-type", 12, type.at, type.size, &slot);
  u32 response = new_response(fields);
  set_status_code(response, status);
  response_body(response, &slot);
  sent s = {slot.w[1], 0};
  outparam_set(outparam, 0, response, 0, 0, 0, 0, 0, 0);
  body_write(s.body, &slot);
  s.stream = slot.w[1];
  return s;
}

static void finish(sent s) {
  drop_output(s.stream);
  body_finish(s.body, 0, 0, &slot);
}

static void answer(u32 outparam, u32 status, const char *type) {
  sent s = head(outparam, status, lit(type));
  put(s.stream, text, text_size);
  finish(s);
}

static str content_type(u32 headers) {
  fields_get(headers, "content-type", 12, &slot);
  str found = slot.w[1] ? *(str *)slot.w[0] : (str){0, 0};
  drop_fields(headers);
  return found;
}

/* --- routes */

static void echo(u32 request, u32 outparam) {
  str type = content_type(request_headers(request));
  request_consume(request, &slot);
  u32 in = stream_of(slot.w[1]);
  sent s = head(outparam, 200, type.size ? type : lit("application/octet-stream"));
  copy(in, s.stream);
  drop_input(in);
  finish(s);
}

static void sub(u32 outparam, str url) {
  u32 at = 0, https = url.size > 5 && url.at[4] == 's', begin = https ? 8 : 7, end = begin;
  while (end < url.size && url.at[end] != '/') end++;
  u32 request = new_request(new_fields());
  set_scheme(request, 1, https, 0, 0);
  set_authority(request, 1, url.at + begin, end - begin);
  if (end < url.size) set_path(request, 1, url.at + end, url.size - end);
  send(request, 0, 0, &slot);
  at = 8; /* of the error-code or the handle in the result */
  if (!slot.b[0]) {
    u32 future = slot.w[2];
    wait_for(subscribe_response(future));
    future_get(future, &slot);
    at = slot.b[16] ? 24 : 0;
  }
  if (at) {
    u32 code = slot.b[at];
    say("error-code ");
    say_number(code);
    answer(outparam, 502, "text/plain");
    return;
  }
  u32 response = slot.w[6], status = response_status(response);
  str type = content_type(response_headers(response));
  response_consume(response, &slot);
  u32 in = stream_of(slot.w[1]);
  sent s = head(outparam, status, type);
  copy(in, s.stream);
  drop_input(in);
  finish(s);
}

static void stream(u32 outparam, u32 chunks, u32 size) {
  sent s = head(outparam, 200, lit("application/octet-stream"));
  u8 *chunk = cabi_realloc(0, 0, 1, size);
  for (u32 i = 0; i < chunks; i++) {
    if (size) {
      memset(chunk, (int)i, size);
      if (!put(s.stream, chunk, size)) break;
    } else {
      text_size = 0;
      say("chunk ");
      say_number(i);
      say("\n");
      if (!put(s.stream, text, text_size)) break;
    }
    blocking_flush(s.stream, &slot);
  }
  finish(s);
}

static void file(u32 outparam, str path) {
  get_directories(&slot);
  const u32 *entry = (const u32 *)slot.w[0];
  for (u32 n = slot.w[1]; n--; entry += 3) {
    str root = {(const u8 *)entry[1], entry[2]};
    if (root.size && root.at[root.size - 1] == '/') root.size--;
    if (path.size <= root.size || path.at[root.size] != '/' || !equal(root, (str){path.at, root.size})) continue;
    open_at(entry[0], 1, path.at + root.size + 1, path.size - root.size - 1, 0, 1, &slot);
    if (slot.b[0]) continue;
    u32 descriptor = slot.w[1];
    read_via_stream(descriptor, 0, &slot);
    if (slot.b[0]) continue; /* a directory */
    u32 in = slot.w[1];
    sent s = head(outparam, 200, lit("application/octet-stream"));
    copy(in, s.stream);
    drop_input(in);
    drop_descriptor(descriptor);
    finish(s);
    return;
  }
  say("no such file");
  answer(outparam, 404, "text/plain");
}

static void trailers(u32 request, u32 outparam) {
  request_consume(request, &slot);
  u32 body = slot.w[1], in = stream_of(body);
  u8 *mark = heap;
  do {
    heap = mark;
    blocking_read(in, PAGE, &slot);
  } while (!slot.b[0]);
  drop_input(in);
  u32 future = incoming_finish(body);
  wait_for(subscribe_trailers(future));
  trailers_get(future, &slot);
  if (!slot.b[16] && slot.b[24]) {
    fields_entries(slot.w[7], &slot);
    say_pairs((const u32 *)slot.w[0], slot.w[1], 0);
  } else {
    say("[]");
  }
  drop_future_trailers(future);
  sent s = head(outparam, 200, lit("application/json"));
  put(s.stream, text, text_size);
  drop_output(s.stream);
  u32 fields = new_fields();
  fields_append(fields, "x-guest", 7, "c-echo", 6, &slot);
  body_finish(s.body, 1, fields, &slot);
}

static void log_lines(u32 n) {
  u32 err = get_stderr();
  for (u32 i = 0; i < n; i++) {
    text_size = 0;
    say("log line ");
    say_number(i);
    say("\n");
    blocking_write(err, text, text_size, &slot);
  }
  drop_output(err);
  text_size = 0;
  say_number(n);
}

static void random_hex(void) {
  get_random_bytes(16, &slot);
  const u8 *bytes = (const u8 *)slot.w[0];
  for (u32 i = 0; i < 16; i++) {
    add((str){(const u8 *)"0123456789abcdef" + (bytes[i] >> 4), 1});
    add((str){(const u8 *)"0123456789abcdef" + (bytes[i] & 15), 1});
  }
}

static void oom(void) {
  while (__builtin_wasm_memory_grow(0, 16) != (u32)-1)
    ;
  __builtin_trap();
}

__attribute__((export_name("wasi:http/incoming-handler@0.2.12#handle"))) void handle(u32 request, u32 outparam) {
  heap = heap ? heap : &__heap_base;
  text_size = 0;
  path_with_query(request, &slot);
  str target = slot.b[0] ? (str){(const u8 *)slot.w[1], slot.w[2]} : lit("/");
  str path = {target.at, 0};
  while (path.size < target.size && target.at[path.size] != '?') path.size++;
  str query = path.size < target.size ? (str){target.at + path.size + 1, target.size - path.size - 1} : (str){0, 0};
  u32 status = 200;
  const char *type = "text/plain";
#define ROUTE(name) else if (equal(path, lit(name)))
  if (0) {
  }
  ROUTE("/echo") return echo(request, outparam);
  ROUTE("/trailers") return trailers(request, outparam);
  ROUTE("/sub") return sub(outparam, parameter(query, "url"));
  ROUTE("/stream") return stream(outparam, number(parameter(query, "chunks")), number(parameter(query, "size")));
  ROUTE("/file") return file(outparam, parameter(query, "path"));
  ROUTE("/hello") say("hello from c-echo");
  ROUTE("/headers") {
    u32 headers = request_headers(request);
    fields_entries(headers, &slot);
    say_pairs((const u32 *)slot.w[0], slot.w[1], 0);
    drop_fields(headers);
    type = "application/json";
  }
  ROUTE("/env") {
    get_environment(&slot);
    say_pairs((const u32 *)slot.w[0], slot.w[1], 1);
    type = "application/json";
  }
  ROUTE("/status") {
    status = number(parameter(query, "code"));
    say("as you wish");
  }
  ROUTE("/timer") {
    wait_for(subscribe_duration(number(parameter(query, "ms")) * 1000000ull));
    say("waited");
  }
  ROUTE("/random") random_hex();
  ROUTE("/count") say_number(++count);
  ROUTE("/log") log_lines(number(parameter(query, "n")));
  ROUTE("/spin") for (;;) __asm__ volatile("");
  ROUTE("/trap") __builtin_trap();
  ROUTE("/oom") oom();
  else {
    status = 404;
    say("no such route");
  }
  drop_request(request);
  answer(outparam, status, type);
}
