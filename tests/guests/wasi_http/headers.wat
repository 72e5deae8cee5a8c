;; Adds header fields for ever.
(module
  (import "env" "memory" (memory 1))
  (import "wasi:http/types@0.2.0" "[constructor]fields" (func $new-fields (result i32)))
  (import "wasi:http/types@0.2.0" "[method]fields.append" (func $append (param i32 i32 i32 i32 i32 i32)))
  (func (export "wasi:http/incoming-handler@0.2.0#handle") (param $request i32) (param $out i32)
    (local $fields i32)
    (local.set $fields (call $new-fields))
    (i32.store8 (i32.const 64) (i32.const 97))
    (loop $more
      (call $append (local.get $fields) (i32.const 64) (i32.const 1) (i32.const 64) (i32.const 1) (i32.const 0))
      (br $more))))
