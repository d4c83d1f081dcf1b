//! Reads an answer with the client of hyper.

use std::{
    cell::Cell,
    io,
    pin::{Pin, pin},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use http::{Method, Request, Response};
use hyper::{
    body::{Body, Incoming},
    client::conn::http1::{self, Connection},
    rt::{Read, ReadBufCursor, Write},
};

use super::ours::{End, ReadHead, Reading};

/// The program's side of a connection: it answers once it was asked.
struct Pipe {
    answer: Vec<u8>,
    /// The number of bytes of the answer that were read.
    at: usize,
    step: usize,
    shared: Rc<Shared>,
}

/// The state that the pipe shares with the driver of the connection.
#[derive(Default)]
struct Shared {
    is_asked: Cell<bool>,
    /// Whether the connection ends behind the answer, instead of falling silent there.
    is_over: Cell<bool>,
    /// Whether something was read or written since somebody looked.
    has_moved: Cell<bool>,
}

/// Notes that something wants to be polled again.
#[derive(Default)]
struct WakeFlag(AtomicBool);

/// A request under way.
struct Exchange<F> {
    connection: Connection<Pipe, String>,
    is_done: bool,
    answer: Pin<Box<F>>,
    body: Option<Incoming>,
    reading: Reading,
    /// Whether the answer came whole; `None` as long as that is open.
    is_whole: Option<bool>,
}

/// Returns what hyper makes of `answer`, which comes in pieces of `step` bytes and then ends.
pub(super) fn read_by_hyper(answer: &[u8], step: usize, is_head: bool) -> Reading {
    let shared = Rc::new(Shared::default());
    let pipe = Pipe {
        answer: answer.to_vec(),
        at: 0,
        step: step.max(1),
        shared: Rc::clone(&shared),
    };
    let woken = Arc::new(WakeFlag::default());
    let waker = Waker::from(Arc::clone(&woken));
    let cx = &mut Context::from_waker(&waker);
    let Poll::Ready(Ok((mut sender, connection))) = pin!(http1::handshake(pipe)).poll(cx) else {
        unreachable!("hyper is ready at once");
    };
    let mut request = Request::new(String::new());
    *request.method_mut() = if is_head { Method::HEAD } else { Method::GET };
    let mut exchange = Exchange {
        connection,
        is_done: false,
        answer: Box::pin(sender.send_request(request)),
        body: None,
        reading: Reading::default(),
        is_whole: None,
    };
    exchange.settle(&shared, &woken, cx);
    let is_framed = exchange.is_whole == Some(true);
    let is_free = matches!(sender.poll_ready(cx), Poll::Ready(Ok(()))) && !exchange.is_done;
    shared.is_over.set(true);
    exchange.settle(&shared, &woken, cx);
    let (mut reading, is_whole) = (exchange.reading, exchange.is_whole == Some(true));
    let parts = exchange.connection.into_parts();
    let rest = [&parts.read_buf, &parts.io.answer[parts.io.at..]].concat();
    reading.end = match (is_framed, is_whole) {
        (true, _) => End::Framed { rest, is_free },
        (false, true) => End::Close,
        (false, false) => End::Broken,
    };
    reading
}

impl<F: Future<Output = hyper::Result<Response<Incoming>>>> Exchange<F> {
    /// Polls until nothing more happens.
    fn settle(&mut self, shared: &Shared, woken: &WakeFlag, cx: &mut Context<'_>) {
        loop {
            let is_new = self.step(cx);
            let is_woken = woken.0.swap(false, Ordering::Relaxed);
            let has_moved = shared.has_moved.take();
            if !(is_new || is_woken || has_moved) {
                break;
            }
        }
    }

    /// Polls the connection and the answer. Returns whether something came of it.
    fn step(&mut self, cx: &mut Context<'_>) -> bool {
        let was_done = self.is_done;
        if !was_done {
            self.is_done = self.connection.poll_without_shutdown(cx).is_ready();
        }
        self.is_done != was_done || self.is_whole.is_none() && self.poll_answer(cx)
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(body) = &mut self.body else {
            let Poll::Ready(answer) = self.answer.as_mut().poll(cx) else {
                return false;
            };
            match answer {
                Ok(answer) => {
                    let (head, body) = answer.into_parts();
                    self.reading.head = Some(ReadHead::new(head.status, &head.headers));
                    self.body = Some(body);
                }
                Err(_) => self.is_whole = Some(false),
            }
            return true;
        };
        match Pin::new(body).poll_frame(cx) {
            Poll::Pending => return false,
            Poll::Ready(None) => self.is_whole = Some(true),
            Poll::Ready(Some(Err(_))) => self.is_whole = Some(false),
            Poll::Ready(Some(Ok(frame))) => {
                // Trailers are dropped here as well.
                self.reading
                    .body
                    .extend(frame.into_data().unwrap_or_default());
            }
        }
        true
    }
}

impl Wake for WakeFlag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Read for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let left = &self.answer[self.at..];
        if !self.shared.is_asked.get() || left.is_empty() && !self.shared.is_over.get() {
            return Poll::Pending;
        }
        let length = left.len().min(self.step).min(buffer.remaining());
        buffer.put_slice(&left[..length]);
        self.at += length;
        self.shared.has_moved.set(true);
        Poll::Ready(Ok(()))
    }
}

impl Write for Pipe {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.shared.is_asked.set(true);
        self.shared.has_moved.set(true);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
