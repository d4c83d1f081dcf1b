//! Reads a certificate and its key from PEM files.

use std::{
    fs::{File, Metadata},
    io::{self, Read},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use tokio_rustls::rustls::{
    Error,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};

/// The most bytes of a PEM file. A chain of three certificates has about 6,000.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The paths of the certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Files {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

/// Why a certificate and its key can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read.
    #[error(
        "{setting} = {path} can't be read: {source}; name a PEM file that the host's user can read"
    )]
    Unreadable {
        /// The setting.
        setting: &'static str,
        /// Its file.
        path: PathBuf,
        /// The file system's error.
        source: io::Error,
    },
    /// Someone other than the file's owner can read or change the key.
    #[error(
        "tls.key = {path} can be read or changed by others than its owner (mode {mode:03o}): run chmod 600 {path}"
    )]
    KeyNotPrivate {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file holds nothing of the kind that is needed.
    #[error(
        "{setting} = {path} holds no {what} in PEM form: name a file with a line -----BEGIN ...-----"
    )]
    Missing {
        /// The setting.
        setting: &'static str,
        /// Its file.
        path: PathBuf,
        /// The name of what the file should hold.
        what: &'static str,
    },
    /// The key belongs to another certificate.
    #[error(
        "the key in tls.key = {key} is not that of the first certificate in tls.cert = {cert}: put the server's own certificate first, and its key beside"
    )]
    Mismatch {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// rustls takes neither the certificate nor the key.
    #[error("tls.cert and tls.key can't be used: {0}; use an RSA, ECDSA or Ed25519 key")]
    Unusable(String),
}

/// Tells whether files are still the ones that were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp([FileStamp; 2]);

#[derive(Clone, Debug, PartialEq, Eq)]
struct FileStamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified_ns: (i64, i64),
}

impl Stamp {
    /// Looks at the files, through links: tools that renew certificates often replace only a link.
    pub(super) fn of(files: &Files) -> io::Result<Self> {
        let stamp = |path: &Path| std::fs::metadata(path).map(|found| FileStamp::from(&found));
        Ok(Self([stamp(&files.cert)?, stamp(&files.key)?]))
    }
}

impl From<&Metadata> for FileStamp {
    fn from(found: &Metadata) -> Self {
        Self {
            device: found.dev(),
            inode: found.ino(),
            bytes: found.len(),
            modified_ns: (found.mtime(), found.mtime_nsec()),
        }
    }
}

/// Reads the certificate with its key, and what the files looked like when they were opened.
pub(super) fn pair(files: &Files) -> Result<(CertifiedKey, Stamp), TlsError> {
    let (cert, cert_stamp) = read("tls.cert", &files.cert)?;
    let (key, key_stamp) = read("tls.key", &files.key)?;
    let missing = |setting, path: &PathBuf, what| TlsError::Missing {
        setting,
        path: path.clone(),
        what,
    };
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&cert)
        .collect::<Result<_, _>>()
        .unwrap_or_default();
    if chain.is_empty() {
        return Err(missing("tls.cert", &files.cert, "certificate"));
    }
    let key = PrivateKeyDer::from_pem_slice(&key)
        .map_err(|_| missing("tls.key", &files.key, "private key"))?;
    let pair = CertifiedKey::from_der(chain, key, &ring::default_provider());
    let pair = pair.map_err(|error| {
        if let Error::InconsistentKeys(_) = error {
            return TlsError::Mismatch {
                cert: files.cert.clone(),
                key: files.key.clone(),
            };
        }
        TlsError::Unusable(error.to_string())
    })?;
    Ok((pair, Stamp([cert_stamp, key_stamp])))
}

fn read(setting: &'static str, path: &Path) -> Result<(Vec<u8>, FileStamp), TlsError> {
    let unreadable = |source| TlsError::Unreadable {
        setting,
        path: path.to_path_buf(),
        source,
    };
    let file = File::open(path).map_err(unreadable)?;
    let found = file.metadata().map_err(unreadable)?;
    let mode = found.permissions().mode() & 0o777;
    if setting == "tls.key" && mode & 0o077 != 0 {
        return Err(TlsError::KeyNotPrivate {
            path: path.to_path_buf(),
            mode,
        });
    }
    let mut content = Vec::new();
    file.take(FILE_BYTES_MAX)
        .read_to_end(&mut content)
        .map_err(unreadable)?;
    Ok((content, FileStamp::from(&found)))
}
