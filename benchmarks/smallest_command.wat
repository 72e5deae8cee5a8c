;; The smallest worker that answers with a body: a WASI preview 1 command (WAGI) that writes head and body with one host call.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 8) "\18\00\00\00\1f\00\00\00") ;; an iovec: 31 bytes at 24
  (data (i32.const 24) "content-type: text/plain\n\nhello")
  (func (export "_start")
    (drop (call $fd_write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 4)))))
