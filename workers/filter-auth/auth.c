// A filter that lets a request through only with the token of its configuration: `authorization: Bearer <token>`.
// The token is taken out of the request, so that worker and origin never see it.

#include "../proxy_wasm.h"

static const char *token;
static u32 token_size;

EXPORT(proxy_on_configure) u32 proxy_on_configure(u32 context, u32 size) {
  (void)context;
  if (!size || proxy_get_buffer_bytes(PLUGIN_CONFIGURATION, 0, size, &token, &token_size) != OK) {
    const char *message = "the configuration must be the token";
    proxy_log(LOG_WARN, message, length(message));
    return 0;
  }
  return 1;
}

EXPORT(proxy_on_request_headers) u32 proxy_on_request_headers(u32 context, u32 count, u32 end_of_stream) {
  (void)context, (void)count, (void)end_of_stream;
  const char *given = 0;
  u32 size = 0;
  u32 found = proxy_get_header_map_value(REQUEST_HEADERS, "authorization", 13, &given, &size);
  if (found == OK && size > 7 && equal(given, 7, "Bearer ", 7) && equal(given + 7, size - 7, token, token_size)) {
    proxy_remove_header_map_value(REQUEST_HEADERS, "authorization", 13);
    return CONTINUE;
  }
  // One pair: u32 count, u32 sizes of name and value, then both with a NUL each.
  static const u8 headers[] =
      "\1\0\0\0" "\20\0\0\0" "\6\0\0\0" "www-authenticate" "\0" "Bearer";
  const char *body = "401 the token is missing or wrong\n";
  proxy_send_local_response(401, 0, 0, body, length(body), headers, sizeof headers, (u32)-1);
  return PAUSE;
}
