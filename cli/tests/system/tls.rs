//! A host that ends TLS itself, and its client.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use rcgen::{CertifiedKey, generate_simple_self_signed};

use crate::support::{self, Host, hersh, told};

/// Puts a new certificate for this machine into `folder`, as those do who renew one.
fn renew(folder: &Path) {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
    for (name, text) in [
        ("cert.pem", cert.pem()),
        ("key.pem", signing_key.serialize_pem()),
    ] {
        let partial = folder.join("partial");
        fs::write(&partial, text).unwrap();
        fs::set_permissions(&partial, PermissionsExt::from_mode(0o600)).unwrap();
        fs::rename(partial, folder.join(name)).unwrap();
    }
}

/// `hersh ps` of a client that believes what is in `authorities`.
fn ps(host: &Host, authorities: &Path) -> std::process::Output {
    host.command(&["ps", "--ca-file"])
        .arg(authorities)
        .output()
        .unwrap()
}

#[test]
fn a_renewed_certificate_counts_after_a_signal() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    renew(folder.path());
    let (cert, key) = (at("cert.pem"), at("key.pem"));
    let flags = [
        "--tls-cert",
        cert.to_str().unwrap(),
        "--tls-key",
        key.to_str().unwrap(),
    ];
    let host = Host::start_with(at("data"), &flags);
    assert!(
        host.address().starts_with("https://127.0.0.1:"),
        "{}",
        host.address()
    );
    let output = ps(&host, &cert);
    assert!(output.status.success(), "{}", told(&output));

    let old = at("old.pem");
    fs::copy(&cert, &old).unwrap();
    renew(folder.path());
    host.signal("HUP");
    support::until("the new certificate is in force", || {
        ps(&host, &cert).status.success()
    });
    let output = ps(&host, &old);
    assert_eq!(output.status.code(), Some(6), "{}", told(&output));
    assert!(told(&output).contains("certificate"), "{}", told(&output));

    let plain = host.address().replace("https://", "http://");
    let output = hersh()
        .env("HERSH_TOKEN", "x")
        .args(["--host", &plain, "ps"])
        .output()
        .unwrap();
    assert!(!output.status.success(), "no plain HTTP beside TLS");
}

#[test]
fn a_signal_for_certificates_ends_no_host_without_one() {
    let host = Host::start();
    host.signal("HUP");
    host.run(&["ps"]);
    host.signal("HUP");
    host.run(&["ps"]);
}

#[test]
fn a_public_address_is_served_under_tls_only() {
    let folder = tempfile::tempdir().unwrap();
    renew(folder.path());
    let (cert, key) = (
        folder.path().join("cert.pem"),
        folder.path().join("key.pem"),
    );
    let serve = |arguments: &[&str]| {
        let output = hersh()
            .args(["host", "--listen", "0.0.0.0:0", "--data-dir"])
            .arg(folder.path().join("data"))
            .args(arguments)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(3), "{}", told(&output));
        told(&output)
    };
    assert!(serve(&[]).contains("--behind-tls-proxy"));
    fs::set_permissions(&key, PermissionsExt::from_mode(0o644)).unwrap();
    let flags = [
        "--tls-cert",
        cert.to_str().unwrap(),
        "--tls-key",
        key.to_str().unwrap(),
    ];
    assert!(serve(&flags).contains("chmod 600"));
    assert!(
        !folder.path().join("data").exists(),
        "refused before anything is made"
    );
}
