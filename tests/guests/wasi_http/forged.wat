;; Uses a handle that it was never given.
(module
  (import "env" "memory" (memory 1))
  (import "wasi:http/types@0.2.0" "[method]incoming-request.consume" (func $consume (param i32 i32)))
  (func (export "wasi:http/incoming-handler@0.2.0#handle") (param $request i32) (param $out i32)
    (call $consume (i32.const 7777) (i32.const 0))))
