;; Passes a list of 100 MiB to a host function: as C values it would take 3 GiB of the host's memory.
(module
  (import "env" "memory" (memory 1))
  (import "wasi:http/types@0.2.0" "[constructor]fields" (func $new-fields (result i32)))
  (import "wasi:http/types@0.2.0" "[method]fields.append" (func $append (param i32 i32 i32 i32 i32 i32)))
  (func (export "wasi:http/incoming-handler@0.2.0#handle") (param $request i32) (param $out i32)
    (drop (memory.grow (i32.const 1700)))
    (call $append (call $new-fields) (i32.const 64) (i32.const 1) (i32.const 0) (i32.const 104857600) (i32.const 0))))
