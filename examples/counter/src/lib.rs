//! Counts ticks, adds what messages ask, and keeps its total across restarts.

use std::time::Duration;

use hersh::{Context, Control, Result};

/// The managed function: runs at the start, every second, and once for each message.
///
/// # Errors
/// When the stored total is no number; and, as a wish to end, on the message `stop`. On `hang` it never returns.
pub async fn counter(cx: &mut Context) -> Result {
    let ticks = cx.watch_tick("ticks", Duration::from_secs(1))?;
    if ticks.is_triggered(cx) && ticks.count.is_multiple_of(60) {
        let total: i64 = cx.value("total")?.unwrap_or_default();
        cx.log(format!("{} ticks, the total is {total}", ticks.count));
    }

    let Some(message) = cx.message() else {
        return Ok(());
    };
    match message.split_once(' ').unwrap_or((&message, "")) {
        ("add", number) => match number.trim().parse::<i64>() {
            Ok(number) => {
                let total = cx.update("total", |total: i64| total.saturating_add(number))?;
                cx.log(format!("added {number}, the total is {total}"));
                cx.reply(&total)?;
            }
            Err(_) => cx.log(format!("{number:?} is no whole number: nothing was added")),
        },
        ("reset", "") => cx.set("total", &0)?,
        ("stop", "") => return Err(Control::stop("a message said stop").into()),
        // As a deadlock would: its thread does not come back, and the host finds that out.
        ("hang", "") => loop {
            std::thread::park();
        },
        _ => cx.log(format!(
            "{message:?} is none of: add NUMBER, reset, hang, stop"
        )),
    }
    Ok(())
}
