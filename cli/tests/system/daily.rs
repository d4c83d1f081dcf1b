//! What people do every day with a program behind the proxy: a real server in real gVisor, asked byte
//! by byte. What each side may not do is tried at lower rungs; here the usual has to come through.

use std::{
    fs::{File, FileTimes},
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    time::{Duration, SystemTime},
};

use crate::{
    real_programs,
    support::{Folder, Host, shell_program},
};

/// An answer: status, head in small letters, body.
struct Answer {
    status: u16,
    head: String,
    body: String,
    /// False when the connection closed before the end of the body.
    is_whole: bool,
}

impl Answer {
    fn has(&self, header: &str) -> bool {
        self.head.lines().any(|line| line == header)
    }
}

/// Sends a request with these lines behind its target's, and a body.
fn ask(host: &Host, request: &str, lines: &str, body: &[u8]) -> Answer {
    let (method, path) = request.split_once(' ').unwrap();
    let mut stream = TcpStream::connect(host.socket_address()).unwrap();
    let token = host.token();
    write!(
        stream,
        "{method} /programs/daily/watcher/{path} HTTP/1.1\r\nHost: h\r\n\
         Authorization: Bearer {token}\r\n{lines}Connection: close\r\n\r\n"
    )
    .unwrap();
    // A refusal may come before all of the body is taken.
    let _ = stream.write_all(body);
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    let interim = "HTTP/1.1 100 Continue\r\n\r\n";
    let text = text.strip_prefix(interim).unwrap_or(&text);
    // A connection that closes without a word is a cut too.
    let nothing = ("HTTP/1.1 0", "");
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or(nothing);
    let cut = head == nothing.0;
    let head = head.to_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let (body, is_whole) = match length {
        Some(length) if method != "HEAD" => {
            let length: usize = length.parse().unwrap();
            (body.to_owned(), body.len() == length)
        }
        _ if head.contains("transfer-encoding: chunked") => chunks(body),
        _ => (body.to_owned(), !cut),
    };
    Answer {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        head,
        body,
        is_whole,
    }
}

fn get(host: &Host, path: &str) -> Answer {
    ask(host, &format!("GET {path}"), "", b"")
}

/// A body out of its chunks, and whether the last one came.
fn chunks(mut text: &str) -> (String, bool) {
    let mut body = String::new();
    while let Some((size, rest)) = text.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return (body, true);
        }
        let Some(chunk) = rest.get(..size) else {
            break;
        };
        body.push_str(chunk);
        text = rest.get(size + 2..).unwrap_or_default();
    }
    (body, false)
}

/// The server, with a page that was written at that second.
fn folder(style: &str, written_s: u64) -> Folder {
    let folder = real_programs::python("daily", include_str!("../programs/daily.py"));
    let dockerfile = Path::new(folder.path()).join("Dockerfile");
    let steps = std::fs::read_to_string(&dockerfile).unwrap();
    folder.write("Dockerfile", &format!("{steps}COPY app.css /app.css\n"));
    folder.write(
        "hersh.toml",
        "name = \"daily\"\n[proxy]\nanswer = \"2s\"\nsilence = \"1s\"\n[timeouts]\nstop = \"1s\"\n",
    );
    folder.write("app.css", style);
    let file = File::options()
        .write(true)
        .open(Path::new(folder.path()).join("app.css"))
        .unwrap();
    let written = SystemTime::UNIX_EPOCH + Duration::from_secs(written_s);
    file.set_times(FileTimes::new().set_modified(written))
        .unwrap();
    folder
}

#[test]
fn daily_requests_come_through_as_the_program_means_them() {
    let host = Host::start();
    host.run(&[
        "deploy",
        folder("body { color: red }", 1_700_000_000).path(),
    ]);
    files(&host);
    paths(&host);
    times(&host);
    answers(&host);
    requests(&host);
    uploads(&host);

    // Of the same length, by another deploy: who has the old page gets the new one.
    let old = get(&host, "app.css");
    let tag = old.head.lines().find(|line| line.starts_with("etag: "));
    let known = tag.unwrap().replace("etag: ", "If-None-Match: ");
    let known = format!("{known}\r\n");
    let unchanged = ask(&host, "GET app.css", &known, b"");
    assert_eq!(unchanged.status, 304, "{}", unchanged.head);
    host.run(&[
        "deploy",
        folder("body { color: tan }", 1_700_000_060).path(),
    ]);
    let new = ask(&host, "GET app.css", &known, b"");
    assert_eq!(
        (new.status, new.body.as_str()),
        (200, "body { color: tan }")
    );
}

/// Parts of files, and writes that depend on what is there.
fn files(host: &Host) {
    let part = |lines: &str| ask(host, "GET file", lines, b"");
    let old = part("Range: bytes=10-\r\nIf-Range: \"old\"\r\n");
    assert_eq!((old.status, old.body.len()), (200, 20), "{}", old.head);
    let part = part("Range: bytes=10-\r\nIf-Range: \"v1\"\r\n");
    assert_eq!((part.status, part.body.as_str()), (206, "BBBBBBBBBB"));
    assert!(part.has("content-range: bytes 10-19/20"), "{}", part.head);
    let guard = "If-Unmodified-Since: Thu, 01 Jan 2015 00:00:00 GMT\r\nContent-Length: 1\r\n";
    assert_eq!(ask(host, "PUT file", guard, b"x").status, 412);
    let guard = "If-Match: \"old\"\r\nContent-Length: 1\r\n";
    assert_eq!(ask(host, "PUT file", guard, b"x").status, 412);
}

fn paths(host: &Host) {
    for path in [
        "echo/50%25",
        "echo/100%25off",
        "echo/a%2520b",
        "echo//a",
        "echo/a;v=1",
        "echo/?q=%2F&x=a|b{c}",
    ] {
        let answer = get(host, path);
        let seen = format!("GET /watcher/{path} HTTP/1.1\r\n");
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        assert!(answer.body.starts_with(&seen), "{path}: {}", answer.body);
    }
    let slash = get(host, "echo/a%2Fb");
    assert_eq!(slash.status, 404, "{}", slash.body);
    assert!(slash.body.contains("%2F"), "{}", slash.body);
}

/// What takes long: within what the manifest allows, beyond it, and a stream that is silent.
fn times(host: &Host) {
    assert_eq!(get(host, "sleep/1").body, "slept");
    let late = get(host, "sleep/3");
    assert_eq!(late.status, 504, "{}", late.body);
    assert!(late.body.contains("[proxy]"), "{}", late.body);
    let events = get(host, "events/4");
    let said: Vec<&str> = events
        .body
        .lines()
        .filter(|line| line.starts_with("data:"))
        .collect();
    assert_eq!(said, ["data: one", "data: two"], "{}", events.body);
    assert!(events.body.contains("\n:"), "kept alive: {}", events.body);
}

fn answers(host: &Host) {
    let redirect = get(host, "redirect");
    assert_eq!(redirect.status, 307);
    let there = "location: /programs/daily/watcher/echo/there";
    assert!(redirect.has(there), "{}", redirect.head);
    let page = get(host, "page");
    for header in [
        "x-total-count: 42",
        "expires: thu, 01 jan 2099 00:00:00 gmt",
        "access-control-allow-origin: *",
    ] {
        assert!(page.has(header), "{}", page.head);
    }
    assert!(page.head.contains("\nlink: <"), "{}", page.head);
    assert!(!page.head.contains("set-cookie"), "{}", page.head);
    let who = get(host, "who");
    assert_eq!(who.status, 401);
    let asks = "hersh-www-authenticate: basic realm=\"x\"";
    assert!(who.has(asks), "{}", who.head);
    let named = get(host, "name");
    assert!(
        named.head.contains("filename=\"grüß.txt\""),
        "{}",
        named.head
    );
    assert_eq!(get(host, "bare").body, "until the end");
    let short = get(host, "short");
    assert!(!short.is_whole, "a cut is seen: {}", short.head);
    let head = ask(host, "HEAD echo", "", b"");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    let known = ask(host, "GET file", "If-None-Match: \"v1\"\r\n", b"");
    assert_eq!((known.status, known.body.as_str()), (304, ""));
}

/// What a program sees of a request.
fn requests(host: &Host) {
    let hook = "X-Hub-Signature-256: sha256=00\r\nStripe-Signature: t=1\r\nX-Api-Key: k\r\nContent-Length: 2\r\n";
    let seen = ask(host, "POST echo", hook, b"{}").body.to_lowercase();
    for header in [
        "x-hub-signature-256: sha256=00",
        "stripe-signature: t=1",
        "x-api-key: k",
    ] {
        assert!(seen.contains(&format!("\n{header}")), "{seen}");
    }
    assert!(seen.contains("\nhost: daily"), "{seen}");
    assert!(!seen.contains("authorization"), "{seen}");
    let offer = "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n";
    let offered = ask(host, "GET echo", offer, b"");
    assert_eq!(offered.status, 200, "{}", offered.body);
    assert!(
        !offered.body.to_lowercase().contains("h2c"),
        "{}",
        offered.body
    );
    let expecting = "Expect: 100-continue\r\nContent-Length: 1\r\n";
    assert_eq!(ask(host, "POST echo", expecting, b"x").status, 200);
}

/// A body over the limit is answered with a 413 that is seen, however it is sent.
fn uploads(host: &Host) {
    let body = vec![b'x'; 5_000_000];
    let mut chunked = format!("{:x}\r\n", body.len()).into_bytes();
    chunked.extend(&body);
    chunked.extend(b"\r\n0\r\n\r\n");
    let length = format!("Content-Length: {}\r\n", body.len());
    let expecting = format!("Expect: 100-continue\r\n{length}");
    for (lines, body) in [
        (length.as_str(), &body),
        (expecting.as_str(), &body),
        ("Transfer-Encoding: chunked\r\n", &chunked),
    ] {
        let answer = ask(host, "POST echo", lines, body);
        assert_eq!(answer.status, 413, "{lines}: {}", answer.body);
    }
}

#[test]
fn a_program_that_nobody_reaches_is_told_where_it_listens() {
    let host = Host::start();
    // What is said where gVisor has a network stack of its own, which shows nobody its sockets.
    let unseen = "it may listen on 127.0.0.1 or IPv6 only";
    for (command, said) in [
        ("httpd -f -p 127.0.0.1:8080", "it listens on 127.0.0.1:8080"),
        ("nc -ll -p 3000 -e true", "say port = 3000 in hersh.toml"),
        ("sleep 1000", unseen),
    ] {
        let folder = shell_program(
            "deaf",
            &format!("exec /bin/busybox {command}"),
            "restart = \"never\"\n[timeouts]\nstart = \"3s\"\nstop = \"1s\"\n",
        );
        let told = host.refused(1, &["deploy", folder.path()]);
        let is_told = told.contains(said) || told.contains(unseen);
        assert!(is_told, "{command}: {told}");
        assert!(
            told.contains("0.0.0.0:8080") || told.contains("3000"),
            "{told}"
        );
    }
}
