use proptest::{prelude::*, sample::select};

use crate::testkit::compare;

const HEADERS: &[&str] = &[
    "transfer-encoding: chunked",
    "Transfer-Encoding: Chunked",
    "transfer-encoding: gzip, chunked",
    "transfer-encoding:",
    "content-length: 0",
    "content-length: 5",
    "content-length: 5,5",
    "connection: close",
    "connection: keep-alive",
    "connection: x\tclose, upgrade",
    "connection: \u{fc}, close",
    "connection: close\r\nconnection: keep-alive",
    "upgrade: websocket",
    "x:  \u{fc} ",
];

const PARTS: &[&str] = &[
    "\r\n",
    "\r\n",
    "\r\n",
    "\r",
    "\n",
    "0",
    "1",
    "2",
    "A",
    "5",
    ";",
    ";a=b",
    " ",
    "\t",
    "x: y",
    "x",
    ":",
    "0\r\n\r\n",
    "1\r\na\r\n",
    "5;q\r\nhello\r\n",
    "0\r\nx: y\r\n\r\n",
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.1 100 x\r\n\r\n",
    "content-length: 1\r\n",
];

proptest! {
    /// Answers put together from what heads and chunks are made of.
    #[test]
    fn what_this_reader_takes_hyper_takes_alike(
        is_head: bool,
        step in 1..40_usize,
        status in select(&["HTTP/1.1 200 OK", "HTTP/1.1 204", "HTTP/1.0 200 OK", "HTTP/1.1 101", "HTTP/1.1 103 x", "HTTP/1.1 304 "][..]),
        headers in prop::collection::vec(select(HEADERS), 0..3),
        parts in prop::collection::vec(select(PARTS), 0..16),
        broken in prop::option::weighted(0.2, (any::<prop::sample::Index>(), any::<u8>())),
    ) {
        let headers: String = headers.iter().map(|it| format!("{it}\r\n")).collect();
        let mut answer = format!("{status}\r\n{headers}\r\n{}", parts.concat()).into_bytes();
        if let Some((at, byte)) = broken {
            let at = at.index(answer.len());
            answer[at] = byte;
        }
        let compared = compare(&answer, step, is_head);
        prop_assert!(compared.is_ok(), "{compared:#?}\n{}", answer.escape_ascii());
    }
}
