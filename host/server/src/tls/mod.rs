//! TLS with a certificate that can change while the host serves.
//!
//! ```text
//! PEM files ──load──► certificate and key ──► handshakes from now on
//!     ▲ SIGHUP, or a look every minute that finds other files; a bad pair leaves the old in force
//! ```
//!
//! TLS 1.2 and 1.3 by rustls, HTTP/1.1 only. Open connections keep the certificate that they began with.

mod load;

use std::{
    io,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    signal::unix::{SignalKind, signal},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        server::{ClientHello, ResolvesServerCert},
        sign::CertifiedKey,
    },
    server::TlsStream,
};

pub(crate) use load::Files;
use load::Stamp;
pub use load::TlsError;

/// How long a client may take for its handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);

/// The host's end of TLS. Clones share one certificate.
#[derive(Clone)]
pub(crate) struct Tls {
    acceptor: TlsAcceptor,
    current: Arc<CurrentCertificate>,
    handshake_timeout: Duration,
}

impl Tls {
    /// Reads certificate and key.
    ///
    /// # Errors
    /// [`TlsError`] names the file and what to do.
    pub(crate) fn load(files: Files) -> Result<Self, TlsError> {
        let (pair, stamp) = load::pair(&files)?;
        let current = Arc::new(CurrentCertificate {
            pair: RwLock::new(Arc::new(pair)),
            files,
            stamp: RwLock::new(stamp),
        });
        let resolver: Arc<dyn ResolvesServerCert> = Arc::clone(&current) as _;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::Unusable(error.to_string()))?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            current,
            handshake_timeout: HANDSHAKE_TIMEOUT,
        })
    }

    /// Makes the TLS handshake with a client, within [`HANDSHAKE_TIMEOUT`].
    ///
    /// # Errors
    /// An error that says what the client did wrong, or that the handshake took too long.
    pub(crate) async fn accept<S>(&self, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        tokio::time::timeout(self.handshake_timeout, self.acceptor.accept(stream))
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no TLS handshake in time"))?
    }

    /// Reads the files again. Blocks briefly on the disk.
    ///
    /// # Errors
    /// [`TlsError`]; the old certificate stays in force then.
    fn reload(&self) -> Result<(), TlsError> {
        let (pair, stamp) = load::pair(&self.current.files)?;
        let current = &self.current;
        *current.pair.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(pair);
        *current
            .stamp
            .write()
            .unwrap_or_else(PoisonError::into_inner) = stamp;
        Ok(())
    }

    /// Returns true if the files are not those that were read last.
    fn is_stale(&self) -> bool {
        let read = self
            .current
            .stamp
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        Stamp::of(&self.current.files).is_ok_and(|found| found != *read)
    }

    fn refresh(&self, asked: bool) {
        if !asked && !self.is_stale() {
            return;
        }
        match self.reload() {
            Ok(()) => tracing::info!("TLS certificate read again"),
            Err(error) => {
                tracing::error!(%error, "TLS certificate can't be read again; the old one stays in force")
            }
        }
    }
}

/// The certificate in force.
#[derive(Debug)]
struct CurrentCertificate {
    pair: RwLock<Arc<CertifiedKey>>,
    files: Files,
    stamp: RwLock<Stamp>,
}

impl ResolvesServerCert for CurrentCertificate {
    fn resolve(&self, _client: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let pair = self.pair.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&pair))
    }
}

/// Handles SIGHUP for as long as the returned future is polled. The certificate, if there is one, is read
/// again on the signal and when its files change. Without this, the signal would end the process.
///
/// # Errors
/// When the signal can't be listened to.
pub(crate) fn keep_fresh(tls: Option<Tls>) -> io::Result<impl Future<Output = ()>> {
    let mut asked = signal(SignalKind::hangup())?;
    Ok(async move {
        let mut looks = tokio::time::interval(LOOK_INTERVAL);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let asked = tokio::select! {
                signal = asked.recv() => signal.is_some(),
                _ = looks.tick() => false,
            };
            match tls.clone() {
                Some(tls) => drop(tokio::task::spawn_blocking(move || tls.refresh(asked)).await),
                None if asked => tracing::info!("SIGHUP: there is no certificate to read again"),
                None => {}
            }
        }
    })
}

#[cfg(test)]
mod tests;
