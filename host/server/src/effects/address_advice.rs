//! Why nobody reaches a program that runs: it listens somewhere else than it is asked.

use std::net::SocketAddr;

/// Returns what to do about a program that is not reached on `port`, by the addresses that it is seen to
/// listen on. No address may mean that nobody can see them.
pub(crate) fn advice(port: u16, listeners: &[SocketAddr]) -> String {
    let everywhere = format!("let it listen on 0.0.0.0:{port}");
    let is_open = |it: &&SocketAddr| !it.ip().is_loopback();
    let mut on_port = listeners.iter().filter(|it| it.port() == port);
    match on_port.clone().find(is_open) {
        Some(other) if other.is_ipv6() => {
            return format!("it listens on {other} and takes no IPv4 there: {everywhere}");
        }
        Some(_late) => {
            return "it listens there now: give it longer with [timeouts] start in hersh.toml"
                .to_owned();
        }
        None => {}
    }
    if let Some(closed) = on_port.next() {
        return format!("it listens on {closed}, where only it itself can reach it: {everywhere}");
    }
    if let Some(other) = listeners.iter().find(is_open) {
        let other = other.port();
        return format!("it listens on port {other}: say port = {other} in hersh.toml");
    }
    format!("it may listen on 127.0.0.1 or IPv6 only, on another port, or not at all: {everywhere}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_nobody_reaches_is_named_with_the_mend() {
        for (listeners, said) in [
            (
                &["127.0.0.1:8080"][..],
                "it listens on 127.0.0.1:8080, where only it itself",
            ),
            (&["[::1]:8080"], "it listens on [::1]:8080, where only"),
            (&["[::]:8080"], "on [::]:8080 and takes no IPv4 there"),
            (&["127.0.0.1:9", "0.0.0.0:3000"], "say port = 3000 in"),
            (&["127.0.0.1:9", "[::]:3000"], "say port = 3000 in"),
            (&["127.0.0.1:9"], "it may listen on 127.0.0.1 or IPv6 only"),
            (&[], "it may listen on 127.0.0.1 or IPv6 only"),
            (&["0.0.0.0:8080"], "it listens there now"),
        ] {
            let listeners: Vec<SocketAddr> =
                listeners.iter().map(|it| it.parse().unwrap()).collect();
            let advice = advice(8080, &listeners);
            assert!(advice.contains(said), "{listeners:?}: {advice}");
        }
    }
}
