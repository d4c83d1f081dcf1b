//! Keeps what is logged, for tests.

use std::{
    io,
    sync::{Arc, Mutex},
};

use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;

use crate::config::{LogFormat, Settings};

/// Lines that were logged; clones share them.
#[derive(Clone, Default)]
pub(crate) struct Capture(Arc<Mutex<Vec<u8>>>);

impl Capture {
    /// Keeps what this thread logs at `level`, in this form, until the guard is dropped.
    pub(crate) fn start(level: &str, format: LogFormat) -> (Self, DefaultGuard) {
        let mut settings = Settings::defaults().unwrap();
        settings.log_level = level.parse().unwrap();
        settings.log_format = format;
        let capture = Self::default();
        let (subscriber, telemetry) = super::build(&settings, false, capture.clone()).unwrap();
        drop(telemetry);
        (capture, tracing::subscriber::set_default(subscriber))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Capture {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Capture {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
