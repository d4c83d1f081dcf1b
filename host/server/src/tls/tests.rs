use std::{os::unix::fs::PermissionsExt, path::PathBuf};

use axum::{Router, extract::Extension, routing::get};
use hersh_proxy::io_threads::IoThreads;
use rcgen::{CertifiedKey as Generated, generate_simple_self_signed};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
};
use tokio_rustls::{
    TlsConnector, client,
    rustls::{
        ClientConfig, RootCertStore,
        pki_types::{CertificateDer, ServerName},
    },
};

use super::*;
use crate::connections::{Acceptor, Client, serve};
use crate::metrics::ConnectionMetrics;

/// A folder with a certificate and its key.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.renew();
        folder
    }

    /// Puts another certificate in place, as those do who renew one; the certificate itself.
    fn renew(&self) -> CertificateDer<'static> {
        let Generated { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        self.write("cert.pem", &cert.pem());
        self.write("key.pem", &signing_key.serialize_pem());
        cert.der().clone()
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        let partial = path.with_extension("partial");
        std::fs::write(&partial, text).unwrap();
        std::fs::set_permissions(&partial, PermissionsExt::from_mode(0o600)).unwrap();
        std::fs::rename(&partial, &path).unwrap();
        path
    }

    fn files(&self) -> Files {
        Files {
            cert: self.0.path().join("cert.pem"),
            key: self.0.path().join("key.pem"),
        }
    }
}

fn refused(files: Files) -> String {
    Tls::load(files)
        .err()
        .expect("it can't be used")
        .to_string()
}

/// A host whose only route tells the scheme; it ends when the sender is dropped.
async fn host(tls: &Tls) -> (std::net::SocketAddr, oneshot::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let scheme = get(|Extension(client): Extension<Client>| async move { client.scheme.as_str() });
    let router = Router::new().route("/scheme", scheme);
    let acceptor = Acceptor {
        tls: Some(tls.clone()),
        behind_tls_proxy: false,
        metrics: ConnectionMetrics::default(),
        io_threads: IoThreads::start().unwrap(),
    };
    let (end, ended) = oneshot::channel::<()>();
    tokio::spawn(serve(
        listener,
        acceptor,
        crate::api::Site::from(router),
        async move { drop(ended.await) },
    ));
    (address, end)
}

type Stream = client::TlsStream<TcpStream>;

/// Connects as a client that believes in `trusted` alone.
async fn connect(
    address: std::net::SocketAddr,
    trusted: &CertificateDer<'static>,
    protocol: &[u8],
) -> io::Result<Stream> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

/// Asks for the scheme on a connection that stays open.
async fn ask(stream: &mut Stream) -> String {
    stream
        .write_all(b"GET /scheme HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"http") && !answer.ends_with(b"https") {
        let read = stream.read_buf(&mut answer).await.unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&answer));
    }
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn requests_come_through_tls_and_know_it() {
    let folder = Folder::new();
    let trusted = folder.renew();
    let tls = Tls::load(folder.files()).unwrap();
    let (address, _end) = host(&tls).await;
    let mut stream = connect(address, &trusted, b"http/1.1").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let answer = ask(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.ends_with("https"), "{answer}");

    let stranger = Folder::new().renew();
    assert!(connect(address, &stranger, b"http/1.1").await.is_err());
    assert!(
        connect(address, &trusted, b"h2").await.is_err(),
        "only HTTP/1.1"
    );
}

#[tokio::test]
async fn a_new_certificate_serves_new_connections_and_old_ones_stay() {
    let folder = Folder::new();
    let first = folder.renew();
    let tls = Tls::load(folder.files()).unwrap();
    let (address, _end) = host(&tls).await;
    let mut standing = connect(address, &first, b"http/1.1").await.unwrap();
    ask(&mut standing).await;

    tls.refresh(false);
    assert!(
        connect(address, &first, b"http/1.1").await.is_ok(),
        "nothing new, nothing changes"
    );
    let second = folder.renew();
    tls.refresh(false);
    assert!(connect(address, &second, b"http/1.1").await.is_ok());
    assert!(connect(address, &first, b"http/1.1").await.is_err());
    assert!(ask(&mut standing).await.ends_with("https"));
}

#[tokio::test]
async fn a_bad_new_certificate_leaves_the_old_in_force() {
    let folder = Folder::new();
    let first = folder.renew();
    let tls = Tls::load(folder.files()).unwrap();
    let (address, _end) = host(&tls).await;
    let key = std::fs::read_to_string(folder.files().key).unwrap();

    // Only one of the two files is there yet.
    let second = folder.renew();
    let second_key = std::fs::read_to_string(folder.files().key).unwrap();
    folder.write("key.pem", &key);
    tls.refresh(true);
    assert!(tls.is_stale(), "the next look tries again");
    assert!(connect(address, &first, b"http/1.1").await.is_ok());
    for asked in [true, false] {
        std::fs::rename(folder.files().cert, folder.0.path().join("away")).unwrap();
        tls.refresh(asked);
        assert!(connect(address, &first, b"http/1.1").await.is_ok());
        std::fs::rename(folder.0.path().join("away"), folder.files().cert).unwrap();
    }
    folder.write("key.pem", &second_key);
    tls.refresh(false);
    assert!(connect(address, &second, b"http/1.1").await.is_ok());
}

#[tokio::test]
async fn who_does_not_greet_is_let_go_and_others_are_served_meanwhile() {
    let folder = Folder::new();
    let trusted = folder.renew();
    let mut tls = Tls::load(folder.files()).unwrap();
    tls.handshake_timeout = Duration::from_millis(200);
    let (address, _end) = host(&tls).await;
    let mut silent = TcpStream::connect(address).await.unwrap();
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain
        .write_all(b"GET /scheme HTTP/1.1\r\n\r\n")
        .await
        .unwrap();
    let mut stream = connect(address, &trusted, b"http/1.1").await.unwrap();
    assert!(ask(&mut stream).await.ends_with("https"));
    let mut left = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(30), silent.read_to_end(&mut left));
    assert_eq!(ended.await.unwrap().unwrap(), 0);
    // A TLS alert, or just the end: no HTTP for those who speak none.
    let _ = plain.read_to_end(&mut left).await;
    assert!(!String::from_utf8_lossy(&left).contains("HTTP"));
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let folder = Folder::new();
    let key = folder.files().key;
    for mode in [0o644, 0o640, 0o604, 0o620] {
        std::fs::set_permissions(&key, PermissionsExt::from_mode(mode)).unwrap();
        let message = refused(folder.files());
        assert!(
            message.contains(&format!("chmod 600 {}", key.display())),
            "{message}"
        );
        assert!(message.contains(&format!("{mode:o}")), "{message}");
    }
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o400)).unwrap();
    assert!(Tls::load(folder.files()).is_ok());
}

#[test]
fn files_that_cant_be_used_are_named_with_what_to_do() {
    let folder = Folder::new();
    let Files { cert, key } = folder.files();
    let missing = folder.0.path().join("missing.pem");
    let empty = folder.write("empty.pem", "");
    let garbage = "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n";
    let garbage = folder.write("garbage.pem", garbage);
    let a_cert = folder.write("a-cert.pem", &std::fs::read_to_string(&cert).unwrap());
    let others = Folder::new();
    let other = others.files().key;
    for (cert, key, named, said) in [
        (&missing, &key, &missing, "tls.cert"),
        (&cert, &missing, &missing, "tls.key"),
        (&empty, &key, &empty, "no certificate"),
        (&cert, &empty, &empty, "no private key"),
        (&garbage, &key, &garbage, "no certificate"),
        (&key, &key, &key, "no certificate"),
        (&cert, &a_cert, &a_cert, "no private key"),
        (&cert, &other, &other, "server's own certificate first"),
    ] {
        let (cert, key) = (cert.clone(), key.clone());
        let message = refused(Files { cert, key });
        assert!(message.contains(named.to_str().unwrap()), "{message}");
        assert!(message.contains(said), "{message}");
        assert!(!message.contains("PRIVATE KEY"), "{message}");
    }
}
