//! A worker in Rust: a CGI program (WAGI) that says hello from the PoP it runs on. Head, empty line and body go to stdout.
use std::env::var;

fn main() {
    if var("PATH_INFO").as_deref() == Ok("/teapot") {
        print!("Status: 418\nContent-Type: text/plain\n\nshort and stout\n");
        return;
    }
    let (pop, version) = (var("EDGESIM_POP").unwrap_or_default(), var("EDGESIM_VERSION").unwrap_or_default());
    print!("Content-Type: text/plain\n\nhello from {} v{}\n", pop, version);
}
