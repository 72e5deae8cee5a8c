//! A CGI program (WAGI): the request is in the environment, its body on stdin; head, empty line and body go to stdout.
use std::env::var;

fn main() {
    let city = var("HTTP_X_EDGE_CLIENT_CITY").unwrap_or("the world".into());
    let pop = var("EDGESIM_POP").unwrap_or("nowhere".into());
    print!("Content-Type: text/plain; charset=utf-8\n\nhello {}, this is {}\n", city, pop);
}
