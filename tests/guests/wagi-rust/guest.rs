//! The conformance guest in Rust with its standard library: a CGI program. Routes: ../README.md.
use std::env;
use std::fs::read;
use std::io::{stdin, stdout, Read, Write};
use std::thread::sleep;
use std::time::Duration;

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_default()
}

fn parameter(name: &str) -> String {
    let query = variable("QUERY_STRING");
    let found = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    found.unwrap_or_default().to_string()
}

fn number(name: &str) -> u64 {
    parameter(name).parse().unwrap_or(0)
}

fn head(kind: &str) {
    print!("Content-Type: {}\n\n", kind);
}

fn text(body: &str) {
    head("text/plain");
    print!("{}", body);
}

fn quoted(text: &str) -> String {
    let escaped: String = text
        .chars()
        .filter(|c| *c >= ' ')
        .flat_map(|c| if c == '"' || c == '\\' { vec!['\\', c] } else { vec![c] })
        .collect();
    format!("\"{}\"", escaped)
}

fn environment() {
    let entries: Vec<String> = env::vars().map(|(name, value)| quoted(&name) + ":" + &quoted(&value)).collect();
    head("application/json");
    print!("{{{}}}", entries.join(","));
}

fn file() {
    match read(parameter("path")) {
        Ok(content) => {
            head("application/octet-stream");
            stdout().write_all(&content).unwrap();
        }
        Err(_) => print!("Status: 404\nContent-Type: text/plain\n\nno such file"),
    }
}

fn stream() {
    head("application/octet-stream");
    let size = number("size") as usize;
    for i in 0..number("chunks") {
        if size > 0 {
            stdout().write_all(&vec![i as u8; size]).unwrap();
        } else {
            println!("chunk {}", i);
        }
        stdout().flush().unwrap();
    }
}

fn echo() {
    let kind = variable("CONTENT_TYPE");
    head(if kind.is_empty() { "application/octet-stream" } else { &kind });
    stdout().flush().unwrap();
    let mut piece = vec![0; 65536];
    loop {
        match stdin().read(&mut piece).unwrap() {
            0 => break,
            n => stdout().write_all(&piece[..n]).and_then(|_| stdout().flush()).unwrap(), // stdout waits for whole lines
        }
    }
}

fn random() {
    #[link(wasm_import_module = "wasi_snapshot_preview1")]
    extern "C" {
        fn random_get(to: *mut u8, size: usize) -> u32;
    }
    let mut bytes = [0; 16];
    assert_eq!(unsafe { random_get(bytes.as_mut_ptr(), bytes.len()) }, 0);
    text(&bytes.iter().map(|byte| format!("{:02x}", byte)).collect::<String>());
}

fn main() {
    match variable("PATH_INFO").as_str() {
        "/hello" => text("hello from rust"),
        "/echo" => echo(),
        "/env" => environment(),
        "/file" => file(),
        "/stream" => stream(),
        "/random" => random(),
        "/status" => print!("Status: {}\nContent-Type: text/plain\n\nas you wish", number("code")),
        "/timer" => {
            sleep(Duration::from_millis(number("ms")));
            text("waited");
        }
        "/log" => {
            (0..number("n")).for_each(|i| eprintln!("log line {}", i));
            text(&number("n").to_string());
        }
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
        _ => print!("Status: 404\nContent-Type: text/plain\n\nno such route"),
    }
}
