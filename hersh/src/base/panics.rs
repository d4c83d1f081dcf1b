//! Panics of a user's code: turned into text, or ignored.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Drops a user's value. A panic of its destructor is ignored: what the value belonged to is over.
pub(crate) fn discard<T>(value: T) {
    let _ = catch_unwind(AssertUnwindSafe(move || drop(value)));
}

/// Returns the text of a panic.
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
