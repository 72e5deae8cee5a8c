/* The conformance guest in freestanding C for WASI 0.3: an async export with a callback, streams and futures by hand.
 *
 * Each request is a `task` that goes through stages; whatever blocks joins the task's waitable set, and the callback goes on
 * from there. Routes (../README.md): /hello, /echo, /headers, /status, /timer, /stream, /count, /spin, /trap, /oom.
 */
#include "../guest.h"

#define IMPORT(module, name) __attribute__((import_module(module), import_name(name)))
#define HTTP "wasi:http/types@0.3.0"
#define RESPONSE "[static]response.new"
#define CONSUME "[static]request.consume-body"

IMPORT("$root", "[context-get-0]") void *context_get(void);
IMPORT("$root", "[context-set-0]") void context_set(void *task);
IMPORT("$root", "[waitable-set-new]") u32 set_new(void);
IMPORT("$root", "[waitable-set-drop]") void set_drop(u32 set);
IMPORT("$root", "[waitable-join]") void join(u32 waitable, u32 set);
IMPORT("$root", "[subtask-drop]") void subtask_drop(u32 subtask);
IMPORT("[export]wasi:http/handler@0.3.0", "[task-return]handle") void task_return(u32 is_err, u32 response, u32 a, u64 b, u32 c, u32 d, u32 e, u32 f);
IMPORT("wasi:clocks/monotonic-clock@0.3.0", "[async-lower]wait-for") u32 wait_for(u64 ns);
IMPORT(HTTP, "[constructor]fields") u32 new_fields(void);
IMPORT(HTTP, "[resource-drop]fields") void drop_fields(u32 self);
IMPORT(HTTP, "[method]fields.append") void fields_append(u32 self, const void *name, u32 name_size, const void *value, u32 value_size, void *result);
IMPORT(HTTP, "[method]fields.get") void fields_get(u32 self, const void *name, u32 size, void *list);
IMPORT(HTTP, "[method]fields.copy-all") void fields_copy_all(u32 self, void *list);
IMPORT(HTTP, "[method]request.get-path-with-query") void path_with_query(u32 self, void *option);
IMPORT(HTTP, "[method]request.get-headers") u32 request_headers(u32 self);
IMPORT(HTTP, CONSUME) void consume_body(u32 request, u32 future, void *result);
IMPORT(HTTP, "[future-new-0]" CONSUME) u64 done_new(void);
IMPORT(HTTP, "[async-lower][future-write-0]" CONSUME) u32 done_write(u32 future, const void *value);
IMPORT(HTTP, "[future-drop-writable-0]" CONSUME) void done_drop(u32 future);
IMPORT(HTTP, "[async-lower][stream-read-1]" CONSUME) u32 stream_read(u32 stream, void *to, u32 size);
IMPORT(HTTP, "[stream-drop-readable-1]" CONSUME) void drop_readable(u32 stream);
IMPORT(HTTP, "[future-drop-readable-2]" CONSUME) void drop_request_trailers(u32 future);
IMPORT(HTTP, RESPONSE) void response_new(u32 fields, u32 some, u32 stream, u32 trailers, void *result);
IMPORT(HTTP, "[method]response.set-status-code") u32 set_status(u32 self, u32 status);
IMPORT(HTTP, "[stream-new-0]" RESPONSE) u64 stream_new(void);
IMPORT(HTTP, "[async-lower][stream-write-0]" RESPONSE) u32 stream_write(u32 stream, const void *from, u32 size);
IMPORT(HTTP, "[stream-drop-writable-0]" RESPONSE) void drop_writable(u32 stream);
IMPORT(HTTP, "[future-new-1]" RESPONSE) u64 trailers_new(void);
IMPORT(HTTP, "[async-lower][future-write-1]" RESPONSE) u32 trailers_write(u32 future, const void *value);
IMPORT(HTTP, "[future-drop-writable-1]" RESPONSE) void trailers_drop(u32 future);
IMPORT(HTTP, "[future-drop-readable-2]" RESPONSE) void drop_sent(u32 future);

enum { EXIT = 0, WAIT = 2 };                    /* what export and callback return */
enum { BLOCKED = 0xffffffff, COMPLETED = 0, DROPPED = 1 }; /* what reads and writes return, in the low 4 bits */
enum { RETURNED = 2 };                          /* state of a subtask */
enum { SUBTASK = 1 };                           /* kind of event */
#define PIECE 65536

typedef struct {
  enum { TIMER, FILL, READING, WRITE, WRITING, TRAILERS, DONE, END } stage;
  u32 set, joined, request, in, done, out, trailers; /* `done` and `trailers` are futures to write; `in` is 0 without a body to copy */
  u32 chunks, chunk, size;                           /* of /stream */
  u32 at, filled;                                    /* in `piece` */
  u64 value[8];                                      /* of a future that is being written: `ok`, and no trailers */
  u8 piece[PIECE];
} task;

static task *spare; /* of a request that is over */
static union { u8 b[64]; u32 w[16]; } slot;
static u32 count;

/* --- text */

static int equal(str a, const char *b) {
  for (u32 i = 0; i < a.size; i++)
    if (!b[i] || a.at[i] != (u8)b[i]) return 0;
  return !b[a.size];
}

static void add(task *t, str s) {
  for (u32 i = 0; i < s.size && t->filled < PIECE; i++) t->piece[t->filled++] = s.at[i];
}

static void say(task *t, const char *s) { add(t, lit(s)); }

static void say_number(task *t, u32 n) {
  u8 digits[10], i = 10;
  do digits[--i] = '0' + n % 10;
  while (n /= 10);
  add(t, (str){digits + i, 10 - i});
}

static void say_json(task *t, str s) {
  say(t, "\"");
  for (u32 i = 0; i < s.size; i++) {
    u8 c = s.at[i];
    if (c == '"' || c == '\\') say(t, "\\");
    if (c >= 0x20) add(t, (str){&c, 1});
  }
  say(t, "\"");
}

/* The number that a parameter of the query has. */
static u32 number(str query, const char *name) {
  u32 size = lit(name).size;
  for (u32 at = 0; at + size < query.size;) {
    if (equal((str){query.at + at, size}, name) && query.at[at + size] == '=') {
      u32 n = 0;
      for (at += size + 1; at < query.size && query.at[at] != '&'; at++) n = n * 10 + (query.at[at] - '0');
      return n;
    }
    while (at < query.size && query.at[at++] != '&')
      ;
  }
  return 0;
}

/* --- waiting */

static u32 wait_on(task *t, u32 waitable) {
  join(waitable, t->set);
  t->joined = waitable;
  return WAIT | t->set << 4;
}

static u32 end(task *t) {
  set_drop(t->set);
  spare = t;
  return EXIT;
}

/* Goes on until something blocks or nothing is left. `code` is the outcome of what the stage waits for; BLOCKED to begin it. */
static u32 go_on(task *t, u32 code) {
  for (;;) switch (t->stage) {
    case TIMER: /* the answer is already in `piece` */
      t->stage = WRITE;
      break;
    case FILL:
      t->at = t->filled = 0;
      if (t->chunk < t->chunks) {
        if (t->size) {
          t->filled = t->size < PIECE ? t->size : PIECE;
          memset(t->piece, (int)t->chunk, t->filled);
        } else {
          say(t, "chunk "), say_number(t, t->chunk), say(t, "\n");
        }
        t->chunk++;
        t->stage = WRITE;
        break;
      }
      if (!t->in) {
        drop_writable(t->out);
        t->stage = TRAILERS;
        code = BLOCKED;
        break;
      }
      t->stage = READING;
      code = stream_read(t->in, t->piece, PIECE);
      if (code == BLOCKED) return wait_on(t, t->in);
      break;
    case READING:
      t->filled = code >> 4;
      if ((code & 15) != COMPLETED) drop_readable(t->in), t->in = 0;
      t->stage = t->filled ? WRITE : FILL;
      break;
    case WRITE:
      if (t->at == t->filled) {
        t->stage = FILL;
        break;
      }
      t->stage = WRITING;
      code = stream_write(t->out, t->piece + t->at, t->filled - t->at);
      if (code == BLOCKED) return wait_on(t, t->out);
      break;
    case WRITING:
      t->at += code >> 4;
      t->stage = WRITE;
      if ((code & 15) == COMPLETED) break;
      t->at = t->filled = t->chunk = t->chunks = 0; /* nobody reads any more */
      if (t->in) drop_readable(t->in), t->in = 0;
      break;
    case TRAILERS:
      t->stage = DONE;
      code = trailers_write(t->trailers, t->value);
      if (code == BLOCKED) return wait_on(t, t->trailers);
      break;
    case DONE:
      trailers_drop(t->trailers);
      t->stage = END;
      if (!t->done) return end(t);
      code = done_write(t->done, t->value);
      if (code == BLOCKED) return wait_on(t, t->done);
      break;
    case END:
      if (t->done) done_drop(t->done);
      return end(t);
  }
}

/* Sends the head; what follows is streamed from the task. */
static void head(task *t, u32 status, str type) {
  u32 fields = new_fields();
  fields_append(fields, "content-type", 12, type.at, type.size, &slot);
  u64 stream = stream_new(), trailers = trailers_new();
  t->out = stream >> 32, t->trailers = trailers >> 32;
  response_new(fields, 1, (u32)stream, (u32)trailers, &slot);
  u32 response = slot.w[0];
  drop_sent(slot.w[1]);
  set_status(response, status);
  task_return(0, response, 0, 0, 0, 0, 0, 0);
}

static void copy_request(task *t) {
  u64 done = done_new();
  t->done = done >> 32;
  consume_body(t->request, (u32)done, &slot);
  t->in = slot.w[0];
  drop_request_trailers(slot.w[1]);
}

static void headers(task *t) {
  u32 fields = request_headers(t->request);
  fields_copy_all(fields, &slot);
  const u32 *entry = (const u32 *)slot.w[0];
  say(t, "[");
  for (u32 i = 0; i < slot.w[1]; i++, entry += 4) {
    say(t, i ? ", [" : "[");
    say_json(t, (str){(const u8 *)entry[0], entry[1]});
    say(t, ", ");
    say_json(t, (str){(const u8 *)entry[2], entry[3]});
    say(t, "]");
  }
  say(t, "]");
  drop_fields(fields);
}

static void oom(void) {
  while (__builtin_wasm_memory_grow(0, 16) != (u32)-1)
    ;
  __builtin_trap();
}

__attribute__((export_name("[async-lift]wasi:http/handler@0.3.0#handle"))) u32 handle(u32 request) {
  task *t = spare ? spare : cabi_realloc(0, 0, 8, sizeof *t);
  spare = 0;
  memset(t, 0, sizeof *t - PIECE);
  t->stage = WRITE, t->request = request, t->set = set_new();
  context_set(t);

  path_with_query(request, &slot);
  str target = slot.b[0] ? (str){(const u8 *)slot.w[1], slot.w[2]} : lit("/"), path = {target.at, 0}, query = {0, 0};
  while (path.size < target.size && target.at[path.size] != '?') path.size++;
  if (path.size < target.size) query = (str){target.at + path.size + 1, target.size - path.size - 1};
  u32 status = 200;
  str type = lit("text/plain");
  if (equal(path, "/echo")) {
    u32 fields = request_headers(request);
    fields_get(fields, "content-type", 12, &slot);
    type = slot.w[1] ? *(str *)slot.w[0] : lit("application/octet-stream");
    drop_fields(fields);
    copy_request(t);
  } else if (equal(path, "/stream")) {
    t->chunks = number(query, "chunks"), t->size = number(query, "size");
    type = lit("application/octet-stream");
  } else if (equal(path, "/timer")) {
    u32 code = wait_for(number(query, "ms") * 1000000ull);
    say(t, "waited");
    t->stage = TIMER;
    if ((code & 15) != RETURNED) return wait_on(t, code >> 4);
  } else if (equal(path, "/headers")) {
    headers(t);
    type = lit("application/json");
  } else if (equal(path, "/hello")) {
    say(t, "hello from p3-c");
  } else if (equal(path, "/status")) {
    status = number(query, "code");
    say(t, "as you wish");
  } else if (equal(path, "/count")) {
    say_number(t, ++count);
  } else if (equal(path, "/spin")) {
    for (;;) __asm__ volatile("");
  } else if (equal(path, "/trap")) {
    __builtin_trap();
  } else if (equal(path, "/oom")) {
    oom();
  } else {
    status = 404;
    say(t, "no such route");
  }
  head(t, status, type);
  return go_on(t, BLOCKED);
}

__attribute__((export_name("[callback][async-lift]wasi:http/handler@0.3.0#handle"))) u32 callback(u32 event, u32 waitable, u32 code) {
  task *t = context_get();
  if (event == SUBTASK) {
    if (code != RETURNED) return WAIT | t->set << 4;
    subtask_drop(waitable);
    head(t, 200, lit("text/plain"));
  } else {
    join(waitable, 0);
  }
  return go_on(t, code);
}
