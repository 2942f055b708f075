//! A stand-in for a service that answers over HTTP: one request per connection, no bodies.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;

/// Answers each request's path with a status (`200 OK`) and a body, on a thread that ends with the process. Returns its address,
/// `http://host:port`.
pub fn http(mut answer: impl FnMut(&str) -> (&'static str, String) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(stream);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap_or(0) > 0 {}
            let (status, body) = answer(head.split_whitespace().nth(1).unwrap_or_default());
            let length = body.len();
            // Who asked may be gone.
            let _ = write!(
                reader.get_mut(),
                "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
            );
        }
    });
    url
}
