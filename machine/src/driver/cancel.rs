//! How a running effect learns that nobody wants it any more.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

use crate::OpId;

/// Tells a running effect that nobody wants it any more. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Cancel {
    op: OpId,
    cell: Arc<CancelCell>,
}

impl Cancel {
    /// A token that is never cancelled: for tests of handlers.
    #[must_use]
    pub fn never() -> Self {
        CancelCell::token(&Arc::default(), OpId(1))
    }

    /// True once the operation is cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cell.up_to.load(Ordering::Acquire) >= self.op.0
    }

    /// Waits until the operation is cancelled; at once if it is already.
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

/// One per machine, made with its first effect. Effects run in the order of their ids, so the
/// highest cancelled id tells all.
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
