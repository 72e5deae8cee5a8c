// What the sample filters use of Proxy-Wasm ABI 0.2.1, without an SDK: imports, constants, and an allocator that never frees,
// since every request gets a fresh VM.

typedef unsigned int u32;
typedef unsigned char u8;

#define IMPORT(name) __attribute__((import_module("env"), import_name(#name)))
#define EXPORT(name) __attribute__((export_name(#name)))

enum { OK = 0, NOT_FOUND = 1 };
enum { CONTINUE = 0, PAUSE = 1 };
enum { REQUEST_HEADERS = 0, RESPONSE_HEADERS = 2 };
enum { PLUGIN_CONFIGURATION = 7 };
enum { LOG_INFO = 2, LOG_WARN = 3 };

IMPORT(proxy_log) u32 proxy_log(u32 level, const char *message, u32 size);
IMPORT(proxy_get_header_map_value)
u32 proxy_get_header_map_value(u32 map, const char *key, u32 key_size, const char **value, u32 *size);
IMPORT(proxy_replace_header_map_value)
u32 proxy_replace_header_map_value(u32 map, const char *key, u32 key_size, const char *value, u32 size);
IMPORT(proxy_remove_header_map_value) u32 proxy_remove_header_map_value(u32 map, const char *key, u32 key_size);
IMPORT(proxy_get_buffer_bytes)
u32 proxy_get_buffer_bytes(u32 buffer, u32 start, u32 size, const char **data, u32 *data_size);
IMPORT(proxy_get_property) u32 proxy_get_property(const char *path, u32 path_size, const char **value, u32 *size);
IMPORT(proxy_send_local_response)
u32 proxy_send_local_response(u32 status, const char *details, u32 details_size, const char *body, u32 body_size,
                              const u8 *headers, u32 headers_size, u32 grpc_status);

static u8 heap[64 * 1024];
static u32 used;

EXPORT(proxy_on_memory_allocate) void *proxy_on_memory_allocate(u32 size) {
  u32 at = (used + 7) & ~7u;
  if (size > sizeof heap - at) return 0;
  used = at + size;
  return heap + at;
}

EXPORT(proxy_abi_version_0_2_1) void proxy_abi_version_0_2_1(void) {}

static u32 length(const char *text) {
  u32 n = 0;
  while (text[n]) n++;
  return n;
}

static int equal(const char *a, u32 a_size, const char *b, u32 b_size) {
  if (a_size != b_size) return 0;
  for (u32 i = 0; i < a_size; i++)
    if (a[i] != b[i]) return 0;
  return 1;
}
