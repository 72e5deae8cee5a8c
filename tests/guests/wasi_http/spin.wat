;; Runs for ever without calling the host.
(module
  (import "env" "memory" (memory 1))
  (func (export "wasi:http/incoming-handler@0.2.0#handle") (param $request i32) (param $out i32)
    (loop $more (br $more))))
