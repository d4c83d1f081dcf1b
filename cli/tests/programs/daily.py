"""A server as people write them: what it does with each path is what some real one does."""

import os
import socket
import time

TEXT = b"AAAAAAAAAABBBBBBBBBB"
TAG = '"v1"'


def read(connection):
    """The head of a request, as text, and its method, path and headers; its body is read too."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            return None
        data += more
    head, body = data.split(b"\r\n\r\n", 1)
    head = head.decode("latin-1")
    method, target, _ = head.split("\r\n")[0].split(" ")
    headers = {}
    for line in head.split("\r\n")[1:]:
        name, value = line.split(":", 1)
        headers[name.lower()] = value.strip()
    chunked = headers.get("transfer-encoding") == "chunked"
    length = int(headers.get("content-length", 0))
    while (chunked and not body.endswith(b"0\r\n\r\n")) or (not chunked and len(body) < length):
        more = connection.recv(65536)
        if not more:
            return None
        body += more
    return head, method, target.split("?")[0], headers


def answer(connection, status, headers, body, method="GET"):
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "Connection: close"]
    head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
    connection.sendall(head if method == "HEAD" else head + body)


def file_of(headers, method):
    if method == "PUT":
        failed = "if-unmodified-since" in headers or headers.get("if-match", TAG) != TAG
        return ("412 Precondition Failed" if failed else "204 No Content", [], b"")
    tag = f"ETag: {TAG}"
    if headers.get("if-none-match") == TAG:
        return "304 Not Modified", [tag], b""
    if "range" in headers and headers.get("if-range", TAG) == TAG:
        first = int(headers["range"].removeprefix("bytes=").removesuffix("-"))
        span = f"Content-Range: bytes {first}-{len(TEXT) - 1}/{len(TEXT)}"
        return "206 Partial Content", [tag, span], TEXT[first:]
    return "200 OK", [tag, "Accept-Ranges: bytes"], TEXT


def style(headers):
    """A page from the image, with the tag that most servers give one: its time and size."""
    with open("/app.css", "rb") as file:
        body = file.read()
        seen = os.fstat(file.fileno())
    tag = f'"{int(seen.st_mtime):x}-{seen.st_size:x}"'
    if headers.get("if-none-match") == tag:
        return "304 Not Modified", [f"ETag: {tag}"], b""
    return "200 OK", [f"ETag: {tag}", "Content-Type: text/css"], body


def serve(connection):
    request = read(connection)
    if request is None:
        return
    head, method, path, headers = request
    name, _, rest = path.removeprefix("/watcher/").partition("/")
    if name == "file":
        answer(connection, *file_of(headers, method), method)
    elif name == "app.css":
        answer(connection, *style(headers), method)
    elif name == "sleep":
        time.sleep(int(rest))
        answer(connection, "200 OK", [], b"slept")
    elif name == "events":
        head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode() + b"data: one\n\n")
        time.sleep(int(rest))
        connection.sendall(b"data: two\n\n")
    elif name == "redirect":
        answer(connection, "307 Temporary Redirect", ["Location: /watcher/echo/there"], b"")
    elif name == "who":
        answer(connection, "401 Unauthorized", ['WWW-Authenticate: Basic realm="x"'], b"no")
    elif name == "page":
        extra = ['Link: </watcher/page?p=2>; rel="next"', "X-Total-Count: 42", "Set-Cookie: a=b"]
        extra += ["Expires: Thu, 01 Jan 2099 00:00:00 GMT", "Access-Control-Allow-Origin: *"]
        answer(connection, "200 OK", extra, b"page")
    elif name == "name":
        shown = 'Content-Disposition: attachment; filename="grüß.txt"'.encode().decode("latin-1")
        answer(connection, "200 Alles grün".encode().decode("latin-1"), [shown], b"named")
    elif name == "bare":
        connection.sendall(b"HTTP/1.1 200\r\n\r\nuntil the end")
    elif name == "short":
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello")
    else:
        answer(connection, "200 OK", ["Content-Type: text/plain"], head.encode("latin-1"), method)


listener = socket.create_server(("", 8080), backlog=64)
while True:
    connection, _ = listener.accept()
    with connection:
        try:
            serve(connection)
        except OSError as error:
            print("a connection broke:", error)
