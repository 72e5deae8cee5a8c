// The conformance guest in AssemblyScript: a CGI program on WASI preview 1, declared by hand. Routes: ../README.md.
@external("wasi_snapshot_preview1", "fd_read")
declare function fd_read(fd: u32, vectors: usize, count: u32, read: usize): u32;
@external("wasi_snapshot_preview1", "fd_write")
declare function fd_write(fd: u32, vectors: usize, count: u32, written: usize): u32;
@external("wasi_snapshot_preview1", "environ_sizes_get")
declare function environ_sizes_get(count: usize, size: usize): u32;
@external("wasi_snapshot_preview1", "environ_get")
declare function environ_get(entries: usize, buffer: usize): u32;
@external("wasi_snapshot_preview1", "random_get")
declare function random_get(buffer: usize, size: u32): u32;
@external("wasi_snapshot_preview1", "poll_oneoff")
declare function poll_oneoff(subscriptions: usize, events: usize, count: u32, stored: usize): u32;
@external("wasi_snapshot_preview1", "proc_exit")
declare function proc_exit(code: u32): void;

const PIECE: u32 = 65536;
const piece = new Uint8Array(PIECE);
const vector = memory.data(16);
const slot = memory.data(64);
const event = memory.data(64);
const names: string[] = [];
const values: string[] = [];

function writeBytes(fd: u32, at: usize, size: u32): void {
  while (size) {
    store<usize>(vector, at);
    store<u32>(vector, size, 4);
    if (fd_write(fd, vector, 1, slot)) proc_exit(1);
    const n = load<u32>(slot);
    at += n;
    size -= n;
  }
}

function write(text: string, fd: u32 = 1): void {
  const bytes = Uint8Array.wrap(String.UTF8.encode(text));
  writeBytes(fd, bytes.dataStart, bytes.length);
}

function readEnvironment(): void {
  environ_sizes_get(slot, slot + 4);
  const count = load<u32>(slot);
  const entries = heap.alloc(count * 4);
  environ_get(entries, heap.alloc(load<u32>(slot, 4)));
  for (let i: u32 = 0; i < count; i++) {
    const at = load<usize>(entries + i * 4);
    let size: usize = 0;
    while (load<u8>(at + size)) size++;
    const entry = String.UTF8.decodeUnsafe(at, size);
    const equals = entry.indexOf("=");
    names.push(entry.substring(0, equals));
    values.push(entry.substring(equals + 1));
  }
}

function variable(name: string): string {
  const at = names.indexOf(name);
  return at < 0 ? "" : values[at];
}

function number(name: string): i32 {
  const pairs = variable("QUERY_STRING").split("&");
  for (let i = 0; i < pairs.length; i++) {
    if (pairs[i].startsWith(name + "=")) return I32.parseInt(pairs[i].substring(name.length + 1));
  }
  return 0;
}

function head(kind: string): void {
  write("Content-Type: " + kind + "\n\n");
}

function text(body: string): void {
  head("text/plain");
  write(body);
}

function quoted(value: string): string {
  return '"' + value.replaceAll("\\", "\\\\").replaceAll('"', '\\"') + '"';
}

function environment(): void {
  head("application/json");
  const entries: string[] = [];
  for (let i = 0; i < names.length; i++) entries.push(quoted(names[i]) + ":" + quoted(values[i]));
  write("{" + entries.join(",") + "}");
}

function echo(): void {
  const kind = variable("CONTENT_TYPE");
  head(kind.length ? kind : "application/octet-stream");
  for (;;) {
    store<usize>(vector, piece.dataStart);
    store<u32>(vector, PIECE, 4);
    if (fd_read(0, vector, 1, slot)) proc_exit(1);
    const n = load<u32>(slot);
    if (!n) return;
    writeBytes(1, piece.dataStart, n);
  }
}

function stream(): void {
  head("application/octet-stream");
  const size = number("size");
  const chunk = new Uint8Array(size);
  for (let i = 0, chunks = number("chunks"); i < chunks; i++) {
    if (size) {
      chunk.fill(<u8>i);
      writeBytes(1, chunk.dataStart, size);
    } else {
      write("chunk " + i.toString() + "\n");
    }
  }
}

function timer(): void {
  memory.fill(slot, 0, 48);
  store<u32>(slot, 1, 16); // the monotonic clock, of a subscription to a clock
  store<u64>(slot, <u64>number("ms") * 1000000, 24);
  poll_oneoff(slot, event, 1, vector);
  text("waited");
}

function random(): void {
  random_get(slot, 16);
  let hex = "";
  for (let i: usize = 0; i < 16; i++) hex += load<u8>(slot + i).toString(16).padStart(2, "0");
  text(hex);
}

export function _start(): void {
  readEnvironment();
  const path = variable("PATH_INFO");
  if (path == "/hello") text("hello from assemblyscript");
  else if (path == "/echo") echo();
  else if (path == "/env") environment();
  else if (path == "/stream") stream();
  else if (path == "/status") write("Status: " + number("code").toString() + "\nContent-Type: text/plain\n\nas you wish");
  else if (path == "/timer") timer();
  else if (path == "/random") random();
  else if (path == "/log") {
    for (let i = 0, n = number("n"); i < n; i++) write("log line " + i.toString() + "\n", 2);
    text(number("n").toString());
  } else if (path == "/spin") {
    while (true) {}
  } else if (path == "/trap") {
    unreachable();
  } else if (path == "/oom") {
    while (memory.grow(16) >= 0) {}
    unreachable();
  } else write("Status: 404\nContent-Type: text/plain\n\nno such route");
}
