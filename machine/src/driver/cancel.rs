//! Tokens that tell a running effect that its outcome is no longer wanted.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

use crate::OpId;

/// Tells a running effect that its outcome is no longer wanted. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Cancel {
    op: OpId,
    cell: Arc<CancelCell>,
}

impl Cancel {
    /// Returns a token that is never cancelled: for tests of handlers.
    #[cfg(feature = "sim")]
    #[must_use]
    pub fn never() -> Self {
        CancelCell::token(&Arc::default(), OpId(1))
    }

    /// Returns whether the operation is cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cell.up_to.load(Ordering::Acquire) >= self.op.0
    }

    /// Waits until the operation is cancelled. Returns at once if it is cancelled already.
    pub async fn cancelled(&self) {
        loop {
            let notified = self.cell.notify.notified();
            if self.is_cancelled() {
                return;
            }
            notified.await;
        }
    }
}

/// The cancelled operations of one state machine; made with the state machine's first effect. Effects run in
/// the order of their ids, so it is enough to keep the highest cancelled id.
#[derive(Debug, Default)]
pub(super) struct CancelCell {
    up_to: AtomicU64,
    notify: Notify,
}

impl CancelCell {
    pub(super) fn token(cell: &Arc<Self>, op: OpId) -> Cancel {
        Cancel {
            op,
            cell: Arc::clone(cell),
        }
    }

    pub(super) fn cancel(&self, op: OpId) {
        self.up_to.fetch_max(op.0, Ordering::AcqRel);
        self.notify.notify_waiters();
    }
}
