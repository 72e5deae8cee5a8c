;; Makes host resources for ever and drops none.
(module
  (import "env" "memory" (memory 1))
  (import "wasi:http/types@0.2.0" "[constructor]fields" (func $new-fields (result i32)))
  (func (export "wasi:http/incoming-handler@0.2.0#handle") (param $request i32) (param $out i32)
    (loop $more
      (drop (call $new-fields))
      (br $more))))
