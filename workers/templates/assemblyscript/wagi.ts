// The environment and stdout, on WASI preview 1. Memory is never freed: an instance lives for one request.
@external("wasi_snapshot_preview1", "fd_write")
declare function fd_write(fd: u32, vectors: usize, count: u32, written: usize): u32;
@external("wasi_snapshot_preview1", "environ_sizes_get")
declare function environ_sizes_get(count: usize, size: usize): u32;
@external("wasi_snapshot_preview1", "environ_get")
declare function environ_get(entries: usize, buffer: usize): u32;

/** The environment variable `name`: the request's fields are HTTP_…, its path is PATH_INFO. */
export function variable(name: string, otherwise: string): string {
  const sizes = memory.data(8);
  environ_sizes_get(sizes, sizes + 4);
  const count = load<u32>(sizes);
  const entries = heap.alloc(count * 4);
  environ_get(entries, heap.alloc(load<u32>(sizes, 4)));
  for (let i: u32 = 0; i < count; i++) {
    const at = load<usize>(entries + i * 4);
    let size: usize = 0;
    while (load<u8>(at + size)) size++;
    const entry = String.UTF8.decodeUnsafe(at, size);
    if (entry.startsWith(name + "=")) return entry.substring(name.length + 1);
  }
  return otherwise;
}

/** Writes all of a text to stdout. */
export function write(text: string): void {
  const bytes = Uint8Array.wrap(String.UTF8.encode(text));
  const vector = memory.data(12);
  for (let at: u32 = 0, end = <u32>bytes.length; at < end; at += load<u32>(vector, 8)) {
    store<usize>(vector, bytes.dataStart + at);
    store<u32>(vector, end - at, 4);
    if (fd_write(1, vector, 1, vector + 8)) unreachable(); // a trap
  }
}
