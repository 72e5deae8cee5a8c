//! The conformance guest in Rust as a component. Routes: ../README.md.
//!
//! HTTP goes through the canonical ABI by hand; everything else (environment, files, timers, log, randomness) through Rust's
//! standard library on WASI preview 1, which an adapter module inside the component turns into preview 2.
use std::alloc::{alloc, realloc, Layout};
use std::fs::File;
use std::io::Read;
use std::time::Duration;

macro_rules! import {
    ($module:literal { $($name:literal as $id:ident($($arg:ident: $ty:ty),*) $(-> $result:ty)?;)* }) => {
        #[link(wasm_import_module = $module)]
        extern "C" {
            $(#[link_name = $name] fn $id($($arg: $ty),*) $(-> $result)?;)*
        }
    };
}

import!("wasi:io/streams@0.2.12" {
    "[method]input-stream.blocking-read" as blocking_read(stream: u32, size: u64, result: *mut Slot);
    "[resource-drop]input-stream" as drop_input(stream: u32);
    "[method]output-stream.blocking-write-and-flush" as blocking_write(stream: u32, data: *const u8, size: usize, result: *mut Slot);
    "[resource-drop]output-stream" as drop_output(stream: u32);
});
import!("wasi:http/types@0.2.12" {
    "[constructor]fields" as new_fields() -> u32;
    "[resource-drop]fields" as drop_fields(fields: u32);
    "[method]fields.append" as append(fields: u32, name: *const u8, size: usize, value: *const u8, value_size: usize, result: *mut Slot);
    "[method]fields.entries" as entries(fields: u32, result: *mut Slot);
    "[method]incoming-request.path-with-query" as path_with_query(request: u32, result: *mut Slot);
    "[method]incoming-request.headers" as headers(request: u32) -> u32;
    "[method]incoming-request.consume" as consume(request: u32, result: *mut Slot);
    "[method]incoming-body.stream" as body_stream(body: u32, result: *mut Slot);
    "[constructor]outgoing-response" as new_response(fields: u32) -> u32;
    "[method]outgoing-response.set-status-code" as set_status(response: u32, status: u32) -> u32;
    "[method]outgoing-response.body" as response_body(response: u32, result: *mut Slot);
    "[method]outgoing-body.write" as body_write(body: u32, result: *mut Slot);
    "[static]outgoing-body.finish" as body_finish(body: u32, some: u32, trailers: u32, result: *mut Slot);
    "[static]response-outparam.set" as outparam_set(out: u32, err: u32, response: u32, a: u32, b: u64, c: u32, d: u32, e: u32, f: u32);
});

/// Where host functions put what does not fit into a register.
#[repr(C, align(8))]
struct Slot([u32; 16]);

impl Slot {
    fn filled(fill: impl FnOnce(*mut Slot)) -> Slot {
        let mut slot = Slot([0; 16]);
        fill(&mut slot);
        slot
    }

    /// The handle of a `result<own<..>>`.
    fn handle(&self) -> u32 {
        assert_eq!(self.0[0] & 0xff, 0, "the host returned an error");
        self.0[1]
    }
}

extern "C" {
    fn __wasm_call_ctors();
}

/// Called once by the component. Naming the constructors keeps the linker from running them at the start of every export,
/// `cabi_realloc` too, where a component must not call out.
#[no_mangle]
unsafe extern "C" fn _initialize() {
    __wasm_call_ctors();
}

#[no_mangle]
unsafe extern "C" fn cabi_realloc(old: *mut u8, old_size: usize, align: usize, size: usize) -> *mut u8 {
    match (old_size, size) {
        (0, 0) => align as *mut u8,
        (0, _) => alloc(Layout::from_size_align_unchecked(size, align)),
        _ => realloc(old, Layout::from_size_align_unchecked(old_size, align), size),
    }
}

unsafe fn bytes(at: u32, size: u32) -> Vec<u8> {
    Vec::from_raw_parts(at as *mut u8, size as usize, size as usize)
}

/// A response whose head is sent.
struct Sent(u32, u32);

impl Sent {
    fn head(out: u32, status: u32, kind: &str) -> Sent {
        unsafe {
            let fields = new_fields();
            Slot::filled(|slot| append(fields, "content-type".as_ptr(), 12, kind.as_ptr(), kind.len(), slot));
            let response = new_response(fields);
            set_status(response, status);
            let body = Slot::filled(|slot| response_body(response, slot)).handle();
            outparam_set(out, 0, response, 0, 0, 0, 0, 0, 0);
            Sent(body, Slot::filled(|slot| body_write(body, slot)).handle())
        }
    }

    /// False when nobody reads any more.
    fn write(&self, data: &[u8]) -> bool {
        data.chunks(4096).all(|part| unsafe {
            Slot::filled(|slot| blocking_write(self.1, part.as_ptr(), part.len(), slot)).0[0] & 0xff == 0
        })
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        unsafe {
            drop_output(self.1);
            Slot::filled(|slot| body_finish(self.0, 0, 0, slot));
        }
    }
}

fn fields_of(request: u32) -> Vec<(String, String)> {
    unsafe {
        let fields = headers(request);
        let list = Slot::filled(|slot| entries(fields, slot));
        drop_fields(fields);
        let raw = bytes(list.0[0], list.0[1] * 16);
        let word = |at: usize| u32::from_le_bytes(raw[at..at + 4].try_into().unwrap());
        let text = |at: usize| String::from_utf8_lossy(&bytes(word(at), word(at + 4))).into_owned();
        let found = (0..list.0[1] as usize).map(|i| (text(i * 16), text(i * 16 + 8))).collect();
        drop(raw);
        found
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn parameter<'a>(query: &'a str, name: &str) -> &'a str {
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).unwrap_or("")
}

fn number(query: &str, name: &str) -> u64 {
    parameter(query, name).parse().unwrap_or(0)
}

fn echo(request: u32, out: u32) {
    let fields = fields_of(request);
    let kind = fields.iter().find(|(name, _)| name == "content-type").map_or("application/octet-stream", |(_, value)| value);
    unsafe {
        let body = Slot::filled(|slot| consume(request, slot)).handle();
        let stream = Slot::filled(|slot| body_stream(body, slot)).handle();
        let sent = Sent::head(out, 200, kind);
        loop {
            let read = Slot::filled(|slot| blocking_read(stream, 65536, slot));
            if read.0[0] & 0xff != 0 || !sent.write(&bytes(read.0[1], read.0[2])) {
                break;
            }
        }
        drop_input(stream);
    }
}

fn stream(out: u32, chunks: u64, size: usize) {
    let sent = Sent::head(out, 200, "application/octet-stream");
    for i in 0..chunks {
        if !(if size > 0 { sent.write(&vec![i as u8; size]) } else { sent.write(format!("chunk {}\n", i).as_bytes()) }) {
            break;
        }
    }
}

fn file(out: u32, path: &str) -> Option<()> {
    let mut found = File::open(path).ok()?;
    let mut piece = vec![0; 65536];
    let mut n = found.read(&mut piece).ok()?;
    let sent = Sent::head(out, 200, "application/octet-stream");
    while n > 0 && sent.write(&piece[..n]) {
        n = found.read(&mut piece).ok()?;
    }
    Some(())
}

fn random() -> String {
    import!("wasi_snapshot_preview1" { "random_get" as random_get(to: *mut u8, size: usize) -> u32; });
    let mut got = [0; 16];
    assert_eq!(unsafe { random_get(got.as_mut_ptr(), got.len()) }, 0);
    got.iter().map(|byte| format!("{:02x}", byte)).collect()
}

static mut COUNT: u32 = 0;

#[export_name = "wasi:http/incoming-handler@0.2.12#handle"]
extern "C" fn handle(request: u32, out: u32) {
    let target = Slot::filled(|slot| unsafe { path_with_query(request, slot) });
    let target = match target.0[0] & 0xff {
        0 => "/".to_string(),
        _ => String::from_utf8(unsafe { bytes(target.0[1], target.0[2]) }).unwrap(),
    };
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let (mut status, mut kind) = (200, "text/plain");
    let text = match path {
        "/echo" => return echo(request, out),
        "/stream" => return stream(out, number(query, "chunks"), number(query, "size") as usize),
        "/file" => match file(out, parameter(query, "path")) {
            Some(()) => return,
            None => {
                status = 404;
                "no such file".to_string()
            }
        },
        "/hello" => "hello from rust-component".to_string(),
        "/headers" => {
            kind = "application/json";
            let pairs: Vec<_> = fields_of(request).iter().map(|(n, v)| format!("[{},{}]", quoted(n), quoted(v))).collect();
            format!("[{}]", pairs.join(","))
        }
        "/env" => {
            kind = "application/json";
            let pairs: Vec<_> = std::env::vars().map(|(n, v)| quoted(&n) + ":" + &quoted(&v)).collect();
            format!("{{{}}}", pairs.join(","))
        }
        "/status" => {
            status = number(query, "code") as u32;
            "as you wish".to_string()
        }
        "/timer" => {
            std::thread::sleep(Duration::from_millis(number(query, "ms")));
            "waited".to_string()
        }
        "/random" => random(),
        "/log" => {
            (0..number(query, "n")).for_each(|i| eprintln!("log line {}", i));
            number(query, "n").to_string()
        }
        "/count" => unsafe {
            COUNT += 1;
            COUNT.to_string()
        },
        "/spin" => loop {
            std::hint::spin_loop()
        },
        "/trap" => panic!("a panic is a trap"),
        "/oom" => {
            let mut kept = Vec::new();
            loop {
                kept.push(vec![1u8; 1 << 20]);
            }
        }
        _ => {
            status = 404;
            "no such route".to_string()
        }
    };
    Sent::head(out, status, kind).write(text.as_bytes());
}
