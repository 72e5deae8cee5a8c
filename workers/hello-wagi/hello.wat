;; A WAGI worker by hand: answers "hello from <EDGESIM_POP> v<EDGESIM_VERSION>" to every request.
;; Paths: /echo streams the request body back, /headers and /env list the environment (the request's fields are in it), /query
;; answers with the query, /count with a global that it increments, /teapot with status 418.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ_sizes_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $environ_get (param i32 i32) (result i32)))
  (memory (export "memory") 4)
  ;; 0..15: iovec and result; 16: count and size of the environment; 1024: pointers; 16384: strings; 131072: body chunk
  (data (i32.const 64) "Content-Type: text/plain\n\n")
  (data (i32.const 96) "hello from ")
  (data (i32.const 112) " v")
  (data (i32.const 116) "\n")
  (data (i32.const 128) "EDGESIM_POP=")
  (data (i32.const 144) "EDGESIM_VERSION=")
  (data (i32.const 160) "PATH_INFO=/echo")
  (data (i32.const 176) "PATH_INFO=/env")
  (data (i32.const 192) "PATH_INFO=/count")
  (data (i32.const 224) "PATH_INFO=/query")
  (data (i32.const 256) "PATH_INFO=/teapot")
  (data (i32.const 288) "QUERY_STRING=")
  (data (i32.const 320) "Status: 418 I'm a teapot\nContent-Type: text/plain\n\nshort and stout\n")
  (data (i32.const 400) "PATH_INFO=/headers")
  (global $count (mut i32) (i32.const 0))

  ;; Write all of a range to stdout; fd_write may take a part only.
  (func $write (param $at i32) (param $size i32)
    (block $done
      (loop $more
        (br_if $done (i32.eqz (local.get $size)))
        (i32.store (i32.const 0) (local.get $at))
        (i32.store (i32.const 4) (local.get $size))
        (if (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)) (then unreachable))
        (local.set $at (i32.add (local.get $at) (i32.load (i32.const 8))))
        (local.set $size (i32.sub (local.get $size) (i32.load (i32.const 8))))
        (br $more))))

  (func $length (param $at i32) (result i32)
    (local $end i32)
    (local.set $end (local.get $at))
    (block $done
      (loop $more
        (br_if $done (i32.eqz (i32.load8_u (local.get $end))))
        (local.set $end (i32.add (local.get $end) (i32.const 1)))
        (br $more)))
    (i32.sub (local.get $end) (local.get $at)))

  ;; Where the environment string that begins with a prefix goes on; 0 when there is none.
  (func $find (param $prefix i32) (param $size i32) (result i32)
    (local $i i32) (local $j i32) (local $at i32)
    (block $none
      (loop $next
        (br_if $none (i32.ge_u (local.get $i) (i32.load (i32.const 16))))
        (local.set $at (i32.load (i32.add (i32.const 1024) (i32.mul (local.get $i) (i32.const 4)))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (local.set $j (i32.const 0))
        (loop $compare
          (if (i32.eq (local.get $j) (local.get $size))
            (then (return (i32.add (local.get $at) (local.get $size)))))
          (br_if $next (i32.ne
            (i32.load8_u (i32.add (local.get $at) (local.get $j)))
            (i32.load8_u (i32.add (local.get $prefix) (local.get $j)))))
          (local.set $j (i32.add (local.get $j) (i32.const 1)))
          (br $compare))))
    (i32.const 0))

  (func $value (param $prefix i32) (param $size i32)
    (local $at i32)
    (local.set $at (call $find (local.get $prefix) (local.get $size)))
    (if (local.get $at) (then (call $write (local.get $at) (call $length (local.get $at))))))

  (func $echo
    (block $end
      (loop $more
        (i32.store (i32.const 0) (i32.const 131072))
        (i32.store (i32.const 4) (i32.const 65536))
        (if (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)) (then unreachable))
        (br_if $end (i32.eqz (i32.load (i32.const 8))))
        (call $write (i32.const 131072) (i32.load (i32.const 8)))
        (br $more))))

  (func $environment
    (local $i i32) (local $at i32)
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $i) (i32.load (i32.const 16))))
        (local.set $at (i32.load (i32.add (i32.const 1024) (i32.mul (local.get $i) (i32.const 4)))))
        (call $write (local.get $at) (call $length (local.get $at)))
        (call $write (i32.const 116) (i32.const 1))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next))))

  (func (export "_start")
    (if (call $environ_sizes_get (i32.const 16) (i32.const 20)) (then unreachable))
    (if (i32.gt_u (i32.load (i32.const 20)) (i32.const 114688)) (then unreachable))
    (if (i32.gt_u (i32.load (i32.const 16)) (i32.const 3840)) (then unreachable))
    (if (call $environ_get (i32.const 1024) (i32.const 16384)) (then unreachable))
    (if (call $find (i32.const 256) (i32.const 18)) (then (call $write (i32.const 320) (i32.const 67)) (return)))
    (call $write (i32.const 64) (i32.const 26))
    (if (call $find (i32.const 224) (i32.const 17)) (then (call $value (i32.const 288) (i32.const 13)) (return)))
    (if (call $find (i32.const 400) (i32.const 19)) (then (call $environment) (return)))
    (if (call $find (i32.const 160) (i32.const 16)) (then (call $echo) (return)))
    (if (call $find (i32.const 176) (i32.const 15)) (then (call $environment) (return)))
    (if (call $find (i32.const 192) (i32.const 17))
      (then
        (global.set $count (i32.add (global.get $count) (i32.const 1)))
        (i32.store8 (i32.const 120) (i32.add (i32.const 48) (global.get $count)))
        (call $write (i32.const 120) (i32.const 1))
        (return)))
    (call $write (i32.const 96) (i32.const 11))
    (call $value (i32.const 128) (i32.const 12))
    (call $write (i32.const 112) (i32.const 2))
    (call $value (i32.const 144) (i32.const 16))
    (call $write (i32.const 116) (i32.const 1))))
