;; Wants 256 MiB at start.
(module (memory (export "memory") 4096) (func (export "_start")))
