//! The permits to hold a thread or memory of a host for as long as a client likes.

use hersh_base::permits::Permits;

use crate::limits::{
    DOWNLOADS_MAX, MEMBER_CONNECTIONS_MAX, READERS_MAX, STREAMS_MAX, UPLOADS_MAX, WAITS_MAX,
};

/// The permits to hold a thread or memory of this host for as long as a client likes.
pub(crate) struct ClientPermits {
    pub(crate) uploads: Permits,
    pub(crate) downloads: Permits,
    pub(crate) readers: Permits,
    pub(crate) streams: Permits,
    pub(crate) connections: Permits,
    pub(crate) waits: Permits,
}

impl Default for ClientPermits {
    fn default() -> Self {
        Self {
            uploads: Permits::new(UPLOADS_MAX),
            downloads: Permits::new(DOWNLOADS_MAX),
            readers: Permits::new(READERS_MAX),
            streams: Permits::new(STREAMS_MAX),
            connections: Permits::new(MEMBER_CONNECTIONS_MAX),
            waits: Permits::new(WAITS_MAX),
        }
    }
}
