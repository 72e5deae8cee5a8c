// An A/B split in AssemblyScript: a CGI program (WAGI). Who has been counted keeps the variant by cookie; who is new gets
// one by a hash of the address, so that the choice needs no storage and is the same at every PoP.
@external("wasi_snapshot_preview1", "fd_write")
declare function fd_write(fd: u32, vectors: usize, count: u32, written: usize): u32;
@external("wasi_snapshot_preview1", "environ_sizes_get")
declare function environ_sizes_get(count: usize, size: usize): u32;
@external("wasi_snapshot_preview1", "environ_get")
declare function environ_get(entries: usize, buffer: usize): u32;

const COOKIE = "variant";
const variables = new Map<string, string>();

export function _start(): void {
  readEnvironment();
  const known = cookie(COOKIE);
  const variant = known == "a" || known == "b" ? known : choose();
  let head = "Content-Type: text/html; charset=utf-8\nCache-Control: private\nVary: Cookie\nX-Variant: " + variant + "\n";
  if (variant != known) head += "Set-Cookie: " + COOKIE + "=" + variant + "; Path=/; Max-Age=2592000; SameSite=Lax\n";
  const button = variant == "b" ? '<button style="background:#16a34a">Try it</button>' : "<button>Learn more</button>";
  write(head + "\n<!doctype html>\n<title>Variant " + variant + "</title>\n<h1>Welcome</h1>\n" + button + "\n");
}

/** The variant of somebody new: B for B_PERCENT of all addresses. */
function choose(): string {
  const percent = I32.parseInt(get("B_PERCENT", "50"));
  return <i32>(hash(get("EXPERIMENT", "") + "/" + get("REMOTE_ADDR", "")) % 100) < percent ? "b" : "a";
}

/** FNV-1a with a finaliser (MurmurHash3's): FNV alone spreads addresses that differ in their last digit badly. */
function hash(text: string): u32 {
  const bytes = Uint8Array.wrap(String.UTF8.encode(text));
  let h: u32 = 0x811c9dc5;
  for (let i = 0; i < bytes.length; i++) h = (h ^ bytes[i]) * 0x01000193;
  h = (h ^ (h >>> 16)) * 0x85ebca6b;
  h = (h ^ (h >>> 13)) * 0xc2b2ae35;
  return h ^ (h >>> 16);
}

function cookie(name: string): string {
  const pairs = get("HTTP_COOKIE", "").split(";");
  for (let i = 0; i < pairs.length; i++) {
    const pair = pairs[i].trim();
    if (pair.startsWith(name + "=")) return pair.substring(name.length + 1);
  }
  return "";
}

function get(name: string, otherwise: string): string {
  return variables.has(name) ? variables.get(name) : otherwise;
}

/** The request's line and fields and the manifest's `environment`, as NAME=value strings that end with a zero byte. */
function readEnvironment(): void {
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
    const equals = entry.indexOf("=");
    variables.set(entry.substring(0, equals), entry.substring(equals + 1));
  }
}

function write(text: string): void {
  const bytes = Uint8Array.wrap(String.UTF8.encode(text));
  const vector = memory.data(12);
  for (let at: u32 = 0, end = <u32>bytes.length; at < end; at += load<u32>(vector, 8)) {
    store<usize>(vector, bytes.dataStart + at);
    store<u32>(vector, end - at, 4);
    if (fd_write(1, vector, 1, vector + 8)) unreachable(); // a trap
  }
}
