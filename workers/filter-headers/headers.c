// A filter that tells the worker which PoP it runs on, and the client that a filter has seen the response.

#include "../proxy_wasm.h"

EXPORT(proxy_on_request_headers) u32 proxy_on_request_headers(u32 context, u32 count, u32 end_of_stream) {
  (void)context, (void)count, (void)end_of_stream;
  const char *pop = 0;
  u32 size = 0;
  if (proxy_get_property("pop", 3, &pop, &size) == OK)
    proxy_replace_header_map_value(REQUEST_HEADERS, "x-edge-filter-pop", 17, pop, size);
  return CONTINUE;
}

EXPORT(proxy_on_response_headers) u32 proxy_on_response_headers(u32 context, u32 count, u32 end_of_stream) {
  (void)context, (void)count, (void)end_of_stream;
  const char *name = 0;
  u32 size = 0;
  if (proxy_get_property("plugin_name", 11, &name, &size) == OK)
    proxy_replace_header_map_value(RESPONSE_HEADERS, "x-filtered-by", 13, name, size);
  proxy_remove_header_map_value(RESPONSE_HEADERS, "server", 6);
  return CONTINUE;
}
