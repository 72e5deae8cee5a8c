/* What the guests in freestanding C have in common: memory for the canonical ABI, and strings.
 *
 * `heap` is a bump allocator's end; who wants memory back sets it back.
 */
typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;

#define PAGE 65536
extern u8 __heap_base;
static u8 *heap;

static int grown(u8 *end) {
  u32 have = __builtin_wasm_memory_size(0) * PAGE, want = (u32)end;
  return want <= have || __builtin_wasm_memory_grow(0, (want - have + PAGE - 1) / PAGE) != (u32)-1;
}

__attribute__((export_name("cabi_realloc"))) void *cabi_realloc(u8 *old, u32 old_size, u32 align, u32 size) {
  if (!heap) heap = &__heap_base;
  u8 *at = (u8 *)(((u32)heap + align - 1) & -align);
  if (!grown(at + size)) __builtin_trap();
  __builtin_memcpy(at, old, old_size < size ? old_size : size);
  heap = at + size;
  return at;
}

void *memcpy(void *to, const void *from, unsigned long size) {
  for (u8 *t = to; size--;) *t++ = *(const u8 *)from, from = (const u8 *)from + 1;
  return to;
}

void *memset(void *to, int value, unsigned long size) {
  for (u8 *t = to; size--;) *t++ = (u8)value;
  return to;
}

typedef struct { const u8 *at; u32 size; } str;

static str lit(const char *s) {
  u32 n = 0;
  while (s[n]) n++;
  return (str){(const u8 *)s, n};
}
