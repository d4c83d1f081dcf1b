//! What is said of a host whose certificate does not hold, by a server that really speaks TLS.

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    sync::Arc,
};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};

use crate::made_up::{hersh, told};

/// An authority, with its certificate in a file.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    file: PathBuf,
}

impl Authority {
    fn new(folder: &Path, name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let file = folder.join(format!("{name}.pem"));
        fs::write(&file, params.self_signed(&key).unwrap().pem()).unwrap();
        let issuer = Issuer::new(params, key);
        Self { issuer, file }
    }

    /// A host that shows a certificate for `name`, until `last_year` is over; its address.
    fn host(&self, name: &str, last_year: i32) -> String {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(last_year, 12, 31);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
                let mut stream = StreamOwned::new(connection, stream);
                // A client that does not believe the certificate hangs up here.
                let mut head = [0; 4_096];
                if stream.read(&mut head).is_ok_and(|read| read > 0) {
                    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 15\r\nconnection: close\r\n\r\n{\"programs\":[]}";
                    let _ = stream.write_all(answer.as_bytes());
                }
            }
        });
        format!("https://{address}")
    }
}

#[test]
fn a_certificate_that_does_not_hold_is_told_with_ca_file() {
    let folder = tempfile::tempdir().unwrap();
    let known = Authority::new(folder.path(), "known");
    let unknown = Authority::new(folder.path(), "unknown");
    let here = "127.0.0.1";
    for (host, said) in [
        (known.host(here, 2100), None),
        (
            unknown.host(here, 2100),
            Some("authority that is not known"),
        ),
        (known.host("hersh.example", 2100), Some("for another name")),
        (known.host(here, 2020), Some("has expired")),
    ] {
        let output = hersh(folder.path())
            .args(["--host", &host, "ps", "--ca-file"])
            .arg(&known.file)
            .env("HERSH_TOKEN", "hersh_x")
            .output()
            .unwrap();
        let text = told(&output);
        match said {
            None => assert_eq!(output.status.code(), Some(0), "{text}"),
            Some(said) => {
                assert_eq!(output.status.code(), Some(6), "{text}");
                assert!(
                    text.contains("certificate") && text.contains(said),
                    "{text}"
                );
                assert!(text.contains("--ca-file"), "{text}");
            }
        }
    }
}
