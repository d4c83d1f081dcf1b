//! Panics of a user's code: told, or of no matter.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Drops what is a user's. A panic of its destructor concerns nobody: what it belonged to is over.
pub(crate) fn discard<T>(value: T) {
    let _ = catch_unwind(AssertUnwindSafe(move || drop(value)));
}

/// What a panic says of itself.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    match text {
        Some(text) => format!("panicked: {text}"),
        None => "panicked".into(),
    }
}
