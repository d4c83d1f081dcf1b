//! Connections to a host: addresses that the token may be sent to, and the certificates that prove who the
//! host is.

use std::{fs, path::Path, time::Duration};

use reqwest::{Certificate, Client, Url, redirect::Policy};

use crate::failure::Failure;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Reads the host's address. Without TLS anybody on the way can read the token, so plain HTTP is allowed only
/// for this machine, or with `insecure_http`.
pub(crate) fn address(text: &str, insecure_http: bool) -> Result<Url, Failure> {
    let url = Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or_else(|| {
            Failure::Input(format!(
                "{text:?} is not a host's address: use one such as http://127.0.0.1:7700 or https://hersh.example:7700"
            ))
        })?;
    if url.scheme() == "http" && !is_this_machine(&url) && !insecure_http {
        return Err(Failure::Input(format!(
            "{url} is another machine and has no TLS, so anybody between could read the token: use https, an SSH tunnel to 127.0.0.1, or --insecure-http on a network that you trust"
        )));
    }
    Ok(url)
}

/// Returns whether the address can only mean this machine.
pub(crate) fn is_this_machine(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    match address.parse::<std::net::IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        // The name `localhost` always means this machine (RFC 6761).
        Err(_) => host == "localhost",
    }
}

/// Returns a client for the host at `url`. With `ca_file`, only the authorities in that file are trusted.
pub(crate) fn http_client(url: &Url, ca_file: Option<&Path>) -> Result<Client, Failure> {
    // This fails only if there is a provider already, which serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .no_proxy()
        .redirect(Policy::none());
    let builder = match ca_file {
        Some(path) => builder.tls_certs_only(authorities(path)?),
        // Plain HTTP needs no authorities. Reading the machine's takes a while, and fails on a machine
        // without any.
        None if url.scheme() == "http" => builder.tls_certs_only([]),
        None => builder,
    };
    builder
        .build()
        .map_err(|error| Failure::Failed(format!("can't make an HTTP client: {error}")))
}

fn authorities(path: &Path) -> Result<Vec<Certificate>, Failure> {
    let unusable = |why: String| {
        Failure::Input(format!(
            "no certificate of an authority can be read from {}: {why}; name a PEM file with --ca-file or HERSH_CA_FILE",
            path.display()
        ))
    };
    let pem = fs::read(path).map_err(|error| unusable(error.to_string()))?;
    let authorities =
        Certificate::from_pem_bundle(&pem).map_err(|error| unusable(error.to_string()))?;
    if authorities.is_empty() {
        return Err(unusable("it holds none".to_owned()));
    }
    Ok(authorities)
}

/// Says why no host answers at `url`, and what to do about it.
pub(crate) fn unreachable(url: &Url, error: &reqwest::Error) -> String {
    if let Some(tls) = rustls_error(error) {
        return format!("{url} can't prove who it is: {}", certificate(tls));
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    let mend = if is_this_machine(url) {
        "is one running here ('hersh host', 'systemctl status hersh-host')? If yours is elsewhere, name it with --host or HERSH_HOST"
    } else {
        "is that its address? It comes from --host or HERSH_HOST"
    };
    format!("no host answers at {url}: {cause}; {mend}")
}

/// Finds the error of rustls in a chain of errors. An IO error hides the error inside it, and there may be
/// several IO errors around each other.
fn rustls_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    let mut cause = error;
    loop {
        if let Some(found) = cause.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        let wrapped = cause.downcast_ref::<std::io::Error>();
        cause = match wrapped.and_then(std::io::Error::get_ref) {
            Some(inner) => inner,
            None => cause.source()?,
        };
    }
}

/// Says what is wrong with a certificate, and what to do about it.
fn certificate(error: &rustls::Error) -> String {
    use rustls::{CertificateError as Wrong, Error};
    if matches!(error, Error::InvalidMessage(_)) {
        return "it does not speak TLS there; look at the port, or use http:// for a host on this machine".to_owned();
    }
    let Error::InvalidCertificate(wrong) = error else {
        return format!("{error}; look at the certificate and key of the host");
    };
    let is_late = matches!(wrong, Wrong::Expired | Wrong::ExpiredContext { .. });
    let is_early = matches!(wrong, Wrong::NotValidYet | Wrong::NotValidYetContext { .. });
    let is_other = matches!(
        wrong,
        Wrong::NotValidForName | Wrong::NotValidForNameContext { .. }
    );
    let said = if is_late {
        "its certificate has expired: have it renewed on the host, and look at this machine's clock"
            .to_owned()
    } else if is_early {
        "its certificate is not valid yet: look at the clocks of both machines".to_owned()
    } else if is_other {
        "its certificate is for another name: write the name that stands in it with --host or HERSH_HOST".to_owned()
    } else if *wrong == Wrong::UnknownIssuer {
        "its certificate comes from an authority that is not known here".to_owned()
    } else {
        error.to_string()
    };
    format!(
        "{said}; the PEM file of an authority of your own is named with --ca-file or HERSH_CA_FILE"
    )
}

#[cfg(test)]
mod tests {
    use rustls::{CertificateError, Error};

    use super::*;

    #[test]
    fn a_wrong_certificate_is_told_as_such_with_the_remedy() {
        for (wrong, expected) in [
            (CertificateError::UnknownIssuer, "not known here"),
            (CertificateError::Expired, "expired"),
            (CertificateError::NotValidForName, "another name"),
            (CertificateError::BadSignature, "BadSignature"),
        ] {
            let said = certificate(&Error::InvalidCertificate(wrong));
            assert!(
                said.contains(expected) && said.contains("--ca-file"),
                "{said}"
            );
        }
        let wrapped = std::io::Error::other(Error::InvalidCertificate(CertificateError::Expired));
        assert!(rustls_error(&wrapped).is_some());
        assert!(rustls_error(&std::io::Error::other(wrapped)).is_some());
        assert!(rustls_error(&std::io::Error::other("refused")).is_none());
    }

    #[test]
    fn the_token_leaves_this_machine_only_under_tls() {
        for here in [
            "127.0.0.1:7700",
            "127.1.2.3",
            "[::1]:7700",
            "localhost:7700",
            "LOCALHOST",
        ] {
            assert!(address(&format!("http://{here}"), false).is_ok(), "{here}");
        }
        for elsewhere in [
            "hersh.example",
            "192.0.2.1:7700",
            "0.0.0.0:7700",
            "localhost.example",
            "127.0.0.1.example",
            "127.0.0.1@hersh.example",
            "[2001:db8::1]:7700",
        ] {
            let open = format!("http://{elsewhere}");
            let failure = address(&open, false).unwrap_err();
            assert_eq!(failure.exit_code(), 3, "{open}");
            assert!(failure.to_string().contains("--insecure-http"), "{failure}");
            assert!(address(&open, true).is_ok(), "{open}");
            assert!(address(&format!("https://{elsewhere}"), false).is_ok());
        }
        for bad in ["127.0.0.1:7700", "ftp://127.0.0.1", "unix:///x", ""] {
            assert!(address(bad, true).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_file_without_authorities_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let empty = folder.path().join("empty.pem");
        fs::write(&empty, "").unwrap();
        for path in [empty, folder.path().join("missing.pem")] {
            let url = address("https://hersh.example", false).unwrap();
            let failure = http_client(&url, Some(&path)).unwrap_err();
            assert_eq!(failure.exit_code(), 3);
            assert!(failure.to_string().contains(path.to_str().unwrap()));
        }
    }

    #[test]
    fn a_client_for_this_machine_needs_no_authorities() {
        let url = address("http://127.0.0.1:7700", false).unwrap();
        assert!(http_client(&url, None).is_ok());
    }
}
