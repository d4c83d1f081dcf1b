//! `hersh logs -f` through what happens to hosts, against one that is played.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    process::{Command, Stdio},
    thread,
};

const EVENTS: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";

/// Answers one connection; the head that was asked with.
fn answer(listener: &TcpListener, said: &str) -> String {
    let (mut stream, _) = listener.accept().unwrap();
    let mut head = String::new();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(reader.read_line(&mut head).unwrap(), 0, "{head}");
    }
    stream.write_all(said.as_bytes()).unwrap();
    head.to_lowercase()
}

#[test]
fn a_followed_log_goes_on_after_a_cut_and_ends_with_its_token() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = format!("http://{}", listener.local_addr().unwrap());
    let play = thread::spawn(move || {
        let event = |id: &str, text: &str| {
            format!("id: {id}\ndata: {{\"stream\":\"stdout\",\"line\":\"{text}\"}}\n\n")
        };
        let first = answer(
            &listener,
            &format!("{EVENTS}{}data: {{\"li", event("a/0", "one")),
        );
        assert!(!first.contains("last-event-id"), "{first}");
        let gone = "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\n\r\n";
        let second = answer(&listener, gone);
        assert!(second.contains("last-event-id: a/0"), "{second}");
        let third = answer(&listener, &format!("{EVENTS}{}", event("b/0", "two")));
        assert!(third.contains("last-event-id: a/0"), "{third}");
        let refused = "HTTP/1.1 401 Unauthorized\r\nconnection: close\r\n\r\n";
        let fourth = answer(&listener, refused);
        assert!(fourth.contains("last-event-id: b/0"), "{fourth}");
    });
    let child = Command::new(env!("CARGO_BIN_EXE_hersh"))
        .args(["--host", &host, "logs", "-f", "p"])
        .env("HERSH_TOKEN", "hersh_x")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    play.join().unwrap();
    assert_eq!(String::from_utf8_lossy(&child.stdout), "one\ntwo\n");
    assert_eq!(child.status.code(), Some(5), "{child:?}");
}
