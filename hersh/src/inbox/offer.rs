//! How a source leaves what it found in its variable, so that the next run looks at it.

use std::sync::Arc;
use std::time::SystemTime;

use super::Inbox;
use super::var::{Var, Watchable};

impl Var {
    /// Leaves a value for the next run. It replaces a value that waits, so a burst takes memory for
    /// one value.
    pub(crate) fn offer<T: Watchable>(
        self: &Arc<Self>,
        value: Arc<T>,
        at: SystemTime,
        inbox: &Inbox,
    ) {
        offered(self, self.leave(Some(value), None, at), inbox);
    }

    /// Leaves an error for the next run, beside a value that waits.
    pub(crate) fn offer_error(self: &Arc<Self>, error: Arc<str>, at: SystemTime, inbox: &Inbox) {
        offered(self, self.leave(None, Some(error), at), inbox);
    }

    /// Leaves word for the next run that the last error is over, beside a value that waits.
    pub(crate) fn offer_error_over(self: &Arc<Self>, at: SystemTime, inbox: &Inbox) {
        offered(self, self.leave(None, None, at), inbox);
    }
}

/// Makes the next run look at a variable, if nothing waited for that variable before.
fn offered(var: &Arc<Var>, is_first: bool, inbox: &Inbox) {
    if is_first {
        inbox.mark_changed(var.clone());
    }
}
