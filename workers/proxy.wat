;; The component around a core module that serves wasi:http/incoming-handler@0.2.0, written by hand.
;;
;; `build.py` assembles this file and puts the real core module in the place of the empty `$main`. The core module imports
;; its memory from "env" and each host function from the interface's name, and exports
;; "wasi:http/incoming-handler@0.2.0#handle". Memory and allocator are in `$libc`, so that host functions can be lowered
;; before `$main` exists; that is why no shim module is needed.
(component $proxy
  (import "wasi:io/error@0.2.0" (instance $io-error
    (export "error" (type (sub resource)))))
  (alias export $io-error "error" (type $error))

  (import "wasi:io/streams@0.2.0" (instance $streams
    (alias outer $proxy $error (type $outer-error))
    (export "error" (type $error (eq $outer-error)))
    (export "input-stream" (type $input-stream (sub resource)))
    (export "output-stream" (type $output-stream (sub resource)))
    (type $stream-error' (variant (case "last-operation-failed" (own $error)) (case "closed")))
    (export "stream-error" (type $stream-error (eq $stream-error')))
    (export "[method]input-stream.blocking-read"
      (func (param "self" (borrow $input-stream)) (param "len" u64)
        (result (result (list u8) (error $stream-error)))))
    (export "[method]output-stream.blocking-write-and-flush"
      (func (param "self" (borrow $output-stream)) (param "contents" (list u8))
        (result (result (error $stream-error)))))))
  (alias export $streams "input-stream" (type $input-stream))
  (alias export $streams "output-stream" (type $output-stream))

  (import "wasi:cli/environment@0.2.0" (instance $environment
    (export "get-environment" (func (result (list (tuple string string)))))))

  (import "wasi:http/types@0.2.0" (instance $types
    (alias outer $proxy $input-stream (type $outer-input-stream))
    (alias outer $proxy $output-stream (type $outer-output-stream))
    (export "input-stream" (type $input-stream (eq $outer-input-stream)))
    (export "output-stream" (type $output-stream (eq $outer-output-stream)))
    (export "fields" (type $fields (sub resource)))
    (export "incoming-request" (type $incoming-request (sub resource)))
    (export "incoming-body" (type $incoming-body (sub resource)))
    (export "outgoing-response" (type $outgoing-response (sub resource)))
    (export "outgoing-body" (type $outgoing-body (sub resource)))
    (export "response-outparam" (type $response-outparam (sub resource)))
    (export "trailers" (type $trailers (eq $fields)))
    (type $header-error' (variant (case "invalid-syntax") (case "forbidden") (case "immutable")))
    (export "header-error" (type $header-error (eq $header-error')))
    (type $dns' (record (field "rcode" (option string)) (field "info-code" (option u16))))
    (export "DNS-error-payload" (type $dns (eq $dns')))
    (type $tls' (record (field "alert-id" (option u8)) (field "alert-message" (option string))))
    (export "TLS-alert-received-payload" (type $tls (eq $tls')))
    (type $size' (record (field "field-name" (option string)) (field "field-size" (option u32))))
    (export "field-size-payload" (type $size (eq $size')))
    (type $error-code' (variant
      (case "DNS-timeout") (case "DNS-error" $dns) (case "destination-not-found") (case "destination-unavailable")
      (case "destination-IP-prohibited") (case "destination-IP-unroutable") (case "connection-refused")
      (case "connection-terminated") (case "connection-timeout") (case "connection-read-timeout")
      (case "connection-write-timeout") (case "connection-limit-reached") (case "TLS-protocol-error")
      (case "TLS-certificate-error") (case "TLS-alert-received" $tls) (case "HTTP-request-denied")
      (case "HTTP-request-length-required") (case "HTTP-request-body-size" (option u64))
      (case "HTTP-request-method-invalid") (case "HTTP-request-URI-invalid") (case "HTTP-request-URI-too-long")
      (case "HTTP-request-header-section-size" (option u32)) (case "HTTP-request-header-size" (option $size))
      (case "HTTP-request-trailer-section-size" (option u32)) (case "HTTP-request-trailer-size" $size)
      (case "HTTP-response-incomplete") (case "HTTP-response-header-section-size" (option u32))
      (case "HTTP-response-header-size" $size) (case "HTTP-response-body-size" (option u64))
      (case "HTTP-response-trailer-section-size" (option u32)) (case "HTTP-response-trailer-size" $size)
      (case "HTTP-response-transfer-coding" (option string)) (case "HTTP-response-content-coding" (option string))
      (case "HTTP-response-timeout") (case "HTTP-upgrade-failed") (case "HTTP-protocol-error") (case "loop-detected")
      (case "configuration-error") (case "internal-error" (option string))))
    (export "error-code" (type $error-code (eq $error-code')))
    (export "[constructor]fields" (func (result (own $fields))))
    (export "[method]fields.append"
      (func (param "self" (borrow $fields)) (param "name" string) (param "value" (list u8))
        (result (result (error $header-error)))))
    (export "[method]fields.entries"
      (func (param "self" (borrow $fields)) (result (list (tuple string (list u8))))))
    (export "[method]incoming-request.path-with-query"
      (func (param "self" (borrow $incoming-request)) (result (option string))))
    (export "[method]incoming-request.headers"
      (func (param "self" (borrow $incoming-request)) (result (own $fields))))
    (export "[method]incoming-request.consume"
      (func (param "self" (borrow $incoming-request)) (result (result (own $incoming-body)))))
    (export "[method]incoming-body.stream"
      (func (param "self" (borrow $incoming-body)) (result (result (own $input-stream)))))
    (export "[constructor]outgoing-response"
      (func (param "headers" (own $fields)) (result (own $outgoing-response))))
    (export "[method]outgoing-response.set-status-code"
      (func (param "self" (borrow $outgoing-response)) (param "status-code" u16) (result (result))))
    (export "[method]outgoing-response.body"
      (func (param "self" (borrow $outgoing-response)) (result (result (own $outgoing-body)))))
    (export "[method]outgoing-body.write"
      (func (param "self" (borrow $outgoing-body)) (result (result (own $output-stream)))))
    (export "[static]outgoing-body.finish"
      (func (param "this" (own $outgoing-body)) (param "trailers" (option (own $trailers)))
        (result (result (error $error-code)))))
    (export "[static]response-outparam.set"
      (func (param "param" (own $response-outparam))
        (param "response" (result (own $outgoing-response) (error $error-code)))))))
  (alias export $types "fields" (type $fields))
  (alias export $types "incoming-request" (type $incoming-request))
  (alias export $types "incoming-body" (type $incoming-body))
  (alias export $types "response-outparam" (type $response-outparam))

  ;; Memory: the first 128 KiB belong to `$main`'s data and stack, the rest to the allocator, which never frees: an
  ;; instance lives for one request. A body chunk that is read in goes to one place, again and again (see $realloc).
  (core module $libc
    (memory (export "memory") 5)
    (global $next (mut i32) (i32.const 131072))
    (func (export "reset") (global.set $next (i32.const 131072)))
    (func (export "cabi_realloc") (param $old i32) (param $old-size i32) (param $align i32) (param $size i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and
        (i32.add (global.get $next) (i32.sub (local.get $align) (i32.const 1)))
        (i32.sub (i32.const 0) (local.get $align))))
      (global.set $next (i32.add (local.get $at) (local.get $size)))
      (if (i32.gt_u (global.get $next) (i32.mul (memory.size) (i32.const 65536))) (then unreachable))
      (local.get $at)))
  (core module $main)
  (core instance $libc (instantiate $libc))
  (alias core export $libc "memory" (core memory $memory))
  (alias core export $libc "cabi_realloc" (core func $realloc))

  (core func $read (canon lower (func $streams "[method]input-stream.blocking-read")
    (memory (core memory $memory)) (realloc (core func $realloc))))
  (core func $write (canon lower (func $streams "[method]output-stream.blocking-write-and-flush")
    (memory (core memory $memory)) (realloc (core func $realloc))))
  (core func $get-environment (canon lower (func $environment "get-environment")
    (memory (core memory $memory)) (realloc (core func $realloc))))
  (core func $new-fields (canon lower (func $types "[constructor]fields")))
  (core func $append (canon lower (func $types "[method]fields.append") (memory (core memory $memory))))
  (core func $entries (canon lower (func $types "[method]fields.entries")
    (memory (core memory $memory)) (realloc (core func $realloc))))
  (core func $path (canon lower (func $types "[method]incoming-request.path-with-query")
    (memory (core memory $memory)) (realloc (core func $realloc))))
  (core func $headers (canon lower (func $types "[method]incoming-request.headers")))
  (core func $consume (canon lower (func $types "[method]incoming-request.consume") (memory (core memory $memory))))
  (core func $stream (canon lower (func $types "[method]incoming-body.stream") (memory (core memory $memory))))
  (core func $new-response (canon lower (func $types "[constructor]outgoing-response")))
  (core func $set-status (canon lower (func $types "[method]outgoing-response.set-status-code")))
  (core func $body (canon lower (func $types "[method]outgoing-response.body") (memory (core memory $memory))))
  (core func $body-write (canon lower (func $types "[method]outgoing-body.write") (memory (core memory $memory))))
  (core func $finish (canon lower (func $types "[static]outgoing-body.finish")
    (memory (core memory $memory)) (realloc (core func $realloc))))
  (core func $set (canon lower (func $types "[static]response-outparam.set") (memory (core memory $memory))))
  (core func $drop-fields (canon resource.drop $fields))
  (core func $drop-output-stream (canon resource.drop $output-stream))
  (core func $drop-request (canon resource.drop $incoming-request))

  (core instance $env (export "memory" (memory $memory)) (export "reset" (func $libc "reset")))
  (core instance $core-streams
    (export "[method]input-stream.blocking-read" (func $read))
    (export "[method]output-stream.blocking-write-and-flush" (func $write))
    (export "[resource-drop]output-stream" (func $drop-output-stream)))
  (core instance $core-environment (export "get-environment" (func $get-environment)))
  (core instance $core-types
    (export "[constructor]fields" (func $new-fields))
    (export "[method]fields.append" (func $append))
    (export "[method]fields.entries" (func $entries))
    (export "[method]incoming-request.path-with-query" (func $path))
    (export "[method]incoming-request.headers" (func $headers))
    (export "[method]incoming-request.consume" (func $consume))
    (export "[method]incoming-body.stream" (func $stream))
    (export "[constructor]outgoing-response" (func $new-response))
    (export "[method]outgoing-response.set-status-code" (func $set-status))
    (export "[method]outgoing-response.body" (func $body))
    (export "[method]outgoing-body.write" (func $body-write))
    (export "[static]outgoing-body.finish" (func $finish))
    (export "[static]response-outparam.set" (func $set))
    (export "[resource-drop]fields" (func $drop-fields))
    (export "[resource-drop]incoming-request" (func $drop-request)))
  (core instance $main (instantiate $main
    (with "env" (instance $env))
    (with "wasi:io/streams@0.2.0" (instance $core-streams))
    (with "wasi:cli/environment@0.2.0" (instance $core-environment))
    (with "wasi:http/types@0.2.0" (instance $core-types))))

  (func $handle (param "request" (own $incoming-request)) (param "response-out" (own $response-outparam))
    (canon lift (core func $main "wasi:http/incoming-handler@0.2.0#handle")))
  (instance $handler (export "handle" (func $handle)))
  (export "wasi:http/incoming-handler@0.2.0" (instance $handler)))
