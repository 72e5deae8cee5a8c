// A filter written with an SDK that edgesim has not seen: G-Core's fork of the AssemblyScript proxy-runtime, unmodified.
// What it does depends on the path: /deny, /call/<upstream>, /count; a body is put into capitals on its way back.
export * from "@gcoredev/proxy-wasm-sdk-as/assembly/proxy";
import {
  BaseContext, BufferTypeValues, Context, Counter, FilterDataStatusValues, FilterHeadersStatusValues, get_buffer_bytes,
  get_property, get_shared_data, log, LogLevelValues, makeHeaderPair, registerRootContext, RootContext, send_http_response,
  set_buffer_bytes, set_shared_data, stream_context, WasmResultValues, continue_request,
} from "@gcoredev/proxy-wasm-sdk-as/assembly";

class GuestRoot extends RootContext {
  createContext(context_id: u32): Context {
    return new GuestStream(context_id, this);
  }
}

class GuestStream extends Context {
  constructor(context_id: u32, root: GuestRoot) {
    super(context_id, root);
  }

  onRequestHeaders(_count: u32, _end: bool): FilterHeadersStatusValues {
    const path = stream_context.headers.request.get(":path");
    log(LogLevelValues.info, "path " + path);
    stream_context.headers.request.replace("x-configuration", this.root_context.getConfiguration());
    stream_context.headers.request.add("x-pop", String.UTF8.decode(get_property("pop")));
    if (path == "/deny") {
      send_http_response(403, "denied", String.UTF8.encode("no entry\n"), [makeHeaderPair("x-why", "denied")]);
      return FilterHeadersStatusValues.StopIteration;
    }
    if (path == "/count") {
      const before = get_shared_data("count");
      const text = before.result == WasmResultValues.Ok ? String.UTF8.decode(before.value!) : "0";
      const count = I32.parseInt(text) + 1;
      set_shared_data("count", String.UTF8.encode(count.toString()), before.cas);
      new Counter("requests_counted").increment(1);
      stream_context.headers.request.replace("x-count", count.toString());
    }
    if (path.startsWith("/call/")) {
      const sent = this.root_context.httpCall(
        path.substring(6),
        [makeHeaderPair(":method", "GET"), makeHeaderPair(":path", "/check"), makeHeaderPair(":authority", "check.test")],
        new ArrayBuffer(0), [], 1000, this,
        (context: BaseContext, headers: u32, size: usize, _trailers: u32): void => {
          const body = String.UTF8.decode(get_buffer_bytes(BufferTypeValues.HttpCallResponseBody, 0, size as u32));
          stream_context.headers.request.replace("x-checked", headers == 0 ? "failed" : body);
          continue_request();
        },
      );
      return sent == WasmResultValues.Ok ? FilterHeadersStatusValues.StopIteration : FilterHeadersStatusValues.Continue;
    }
    return FilterHeadersStatusValues.Continue;
  }

  onResponseHeaders(_count: u32, _end: bool): FilterHeadersStatusValues {
    stream_context.headers.response.add("x-sdk", "assemblyscript");
    return FilterHeadersStatusValues.Continue;
  }

  onResponseBody(size: usize, _end: bool): FilterDataStatusValues {
    const body = String.UTF8.decode(get_buffer_bytes(BufferTypeValues.HttpResponseBody, 0, size as u32));
    const capitals = String.UTF8.encode(body.toUpperCase());
    set_buffer_bytes(BufferTypeValues.HttpResponseBody, 0, size as u32, capitals);
    return FilterDataStatusValues.Continue;
  }
}

registerRootContext((context_id: u32) => new GuestRoot(context_id), "guest");
