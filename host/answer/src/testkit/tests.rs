mod made_up;

use super::*;

/// Pieces of bytes that an answer is read in: few of a long one, which hyper begins anew for each.
fn steps(answer: &str) -> [usize; 4] {
    let least = 1 + answer.len() / 1_000;
    [least, least * 2, least * 7, usize::MAX]
}

/// What is behind the head of a chunked answer.
fn chunked(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{body}")
}

/// An answer with these headers, the last line's end left out, and the body "ok".
fn with(headers: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{headers}\r\n\r\nok")
}

/// What both make of an answer: of each whether it came to an end.
fn ends(answer: &str, is_head: bool) -> (bool, bool) {
    let (steps, answer) = (steps(answer), answer.as_bytes());
    let mut readings = steps.map(|step| {
        if let Err(difference) = compare(answer, step, is_head) {
            panic!("{difference:#?}\n{}", answer.escape_ascii());
        }
        let ours = read_by_us(answer, step, is_head);
        (ours, read_by_hyper(answer, step, is_head))
    });
    for (ours, hyper) in &mut readings {
        // How much of a broken answer was passed on before may depend on the pieces.
        for it in [ours, hyper] {
            if it.end == End::Broken {
                it.body.clear();
            }
        }
    }
    assert!(readings.iter().all(|it| *it == readings[0]), "{readings:?}");
    let [(ours, hyper), ..] = readings;
    (ours.end != End::Broken, hyper.end != End::Broken)
}

/// What this reader makes of an answer, in words: status, body, and what is behind it.
fn described(answer: &str, is_head: bool) -> String {
    let Reading { head, body, end } = read_by_us(answer.as_bytes(), usize::MAX, is_head);
    let status = head.map_or(0, |head| head.status);
    let end = match end {
        End::Framed { is_free: true, .. } => "free".to_owned(),
        End::Framed { rest, .. } => format!("then {:?}", rest.escape_ascii().to_string()),
        End::Close => "close".to_owned(),
        End::Broken => "broken".to_owned(),
    };
    format!("{status} {} {end}", body.escape_ascii())
}

fn both_take(rows: &[(String, &str)], is_head: bool) {
    for (answer, expected) in rows {
        assert_eq!(ends(answer, is_head), (true, true), "{answer:?}");
        assert_eq!(described(answer, is_head), *expected, "{answer:?}");
    }
}

#[test]
fn both_take_a_length_alike() {
    let rows = [
        (with("content-length: 2"), "200 ok free"),
        (with("Content-Length:\t2 "), "200 ok free"),
        (with("content-length: 002"), "200 ok free"),
        (with("content-length: 1"), "200 o then \"k\""),
        (
            with("content-length: 2\r\nConnection: x, Close"),
            "200 ok then \"\"",
        ),
        (
            with("content-length: 2\r\ncontent-length: 2"),
            "200 ok free",
        ),
        (
            with("content-length: 2").replace("/1.1", "/1.0"),
            "200 ok then \"\"",
        ),
    ];
    both_take(&rows, false);
    both_take(&[(with("content-length: 9"), "200  then \"ok\"")], true);
    both_take(&[(with("x: y"), "200  then \"ok\"")], true);
}

#[test]
fn both_take_chunks_alike() {
    let both = "content-length: 7\r\ntransfer-encoding: Chunked";
    both_take(
        &[
            (chunked("1\r\no\r\n1\r\nk\r\n0\r\n\r\n"), "200 ok free"),
            (
                chunked("2;a=\"\r\nok\r\n000\r\nx: y\r\n\r\nz"),
                "200 ok then \"z\"",
            ),
            (chunked("2 \t;\r\nok\r\n0 \r\n\r\n"), "200 ok free"),
            (with(both).replace("ok", "0\r\n\r\n"), "200  then \"\""),
        ],
        false,
    );
}

#[test]
fn both_take_what_has_no_framing_alike() {
    let interim = "HTTP/1.1 100\r\n\r\nHTTP/1.1 103 x\r\nlink: y\r\n\r\nHTTP/1.1 204\r\n\r\n";
    let texts = [
        (interim, "204  free"),
        ("HTTP/1.1 204\r\n\r\n", "204  free"),
        ("HTTP/1.1 304 \r\ncontent-length: 2\r\n\r\n", "304  free"),
        ("\r\n\nHTTP/1.1 999 x\n\nok", "999 ok close"),
        (
            "HTTP/1.1 200\r\nx: \u{fc}\r\nx:\r\nX: a\tb\r\n\r\nok",
            "200 ok close",
        ),
        ("HTTP/1.1 101\r\nupgrade: x\r\n\r\nhi", "101  then \"hi\""),
    ];
    both_take(
        &texts.map(|(answer, expected)| (answer.to_owned(), expected)),
        false,
    );
}

#[test]
fn only_hyper_takes_what_can_be_read_in_two_ways() {
    for answer in [
        with("content-length: 2, 2"),
        with("transfer-encoding: gzip"),
        with("transfer-encoding: gzip, chunked").replace("ok", "0\r\n\r\n"),
        with("transfer-encoding: x\r\ntransfer-encoding: chunked").replace("ok", "0\r\n\r\n"),
        with("transfer-encoding: chunked, chunked").replace("ok", "0\r\n\r\n"),
        "HTTP/1.1 204\r\ncontent-length: x\r\n\r\n".to_owned(),
        "HTTP/1.0 304\r\ntransfer-encoding: chunked\r\n\r\n".to_owned(),
        // Longer than a line before a chunk may be here.
        chunked(&format!("2;{}\r\nok\r\n0\r\n\r\n", "x".repeat(5_000))),
    ] {
        assert_eq!(ends(&answer, false), (false, true), "{answer:?}");
    }
}

#[test]
fn neither_takes_what_is_wrong() {
    let many = "a: b\r\n".repeat(101);
    for answer in [
        String::new(),
        "ok".to_owned(),
        "HTTP/1.1 200 OK\r\n".to_owned(),
        "HTTP/1.1 100\r\n\r\n".to_owned(),
        "HTTP/2 200\r\n\r\n".to_owned(),
        "HTTP/1.1 099 x\r\n\r\n".to_owned(),
        "HTTP/1.1 20 x\r\n\r\n".to_owned(),
        "http/1.1 200 x\r\n\r\n".to_owned(),
        with("content-length: 3"),
        with("content-length: 2\r\ncontent-length: 3"),
        with("content-length: +2"),
        with("content-length:"),
        with("content-length: 18446744073709551614"),
        with("content-length: 18446744073709551615"),
        with("x : y"),
        with("x: y\r\n z"),
        with(" x: y"),
        with("x"),
        with(": y"),
        with("x: \0"),
        with("x: a\rb"),
        with(&format!("{many}x: y")),
        with(&format!("{}: y", "x".repeat(65_536))),
        "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
        chunked(""),
        chunked("2\r\nok\r\n"),
        chunked("2\r\nok\r\n0\r\n"),
        chunked("2\r\nok\r\n\r\n"),
        chunked("2\r\nok0\r\n\r\n"),
        chunked("2\nok\r\n0\r\n\r\n"),
        chunked("2;a\nb\r\nok\r\n0\r\n\r\n"),
        chunked("2;a\rb\r\nok\r\n0\r\n\r\n"),
        chunked("2 2\r\nok\r\n0\r\n\r\n"),
        chunked(" 2\r\nok\r\n0\r\n\r\n"),
        chunked("0x2\r\nok\r\n0\r\n\r\n"),
        chunked("10000000000000002\r\nok\r\n0\r\n\r\n"),
        chunked("0\r\nx\r\n\r\n"),
        chunked("0\r\nx y: z\r\n\r\n"),
        chunked("0\r\nx: y\r\n z\r\n\r\n"),
        chunked("0\r\nx: \0\r\n\r\n"),
        chunked("0\r\nx: y\n\r\n"),
        chunked("0\r\n\n"),
        chunked(&format!("0\r\n{many}\r\n")),
        chunked(&format!("0\r\na: {}\r\n\r\n", "x".repeat(16 * 1024 - 7))),
    ] {
        assert_eq!(ends(&answer, false), (false, false), "{answer:?}");
    }
}

#[test]
fn what_only_this_reader_takes_has_its_reason() {
    let signed = format!("2;{}\r\nok\r\n", "x".repeat(4_000)).repeat(5);
    for (known, answer) in [(
        KnownDifference::Extensions,
        chunked(&format!("{signed}0\r\n\r\n")),
    )] {
        for step in steps(&answer) {
            let found = compare(answer.as_bytes(), step, false);
            assert_eq!(found.unwrap(), Some(known), "{answer:?}");
        }
    }
}
