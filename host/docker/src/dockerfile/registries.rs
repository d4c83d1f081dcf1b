//! The registries to which the engine may be sent for an image.
//!
//! The engine asks a registry from the machine's own network and follows wherever the answers lead, also to
//! internal addresses. So the engine is sent only to registries that the operator of the host trusts not to
//! lead it there.

use std::{collections::BTreeSet, fmt, str::FromStr};

/// The registry of a name that names none, and the other name of that registry.
const HUB: &str = "docker.io";
const HUB_TOO: &str = "index.docker.io";

/// The names of the registries from which images may be fetched. From any other registry nothing is
/// fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registries(BTreeSet<String>);

impl Registries {
    /// The registries that a host trusts by default. Everybody can write images to them, but their
    /// operators alone decide what they answer.
    pub const DEFAULT: &str =
        "docker.io, ghcr.io, quay.io, gcr.io, mcr.microsoft.com, public.ecr.aws, registry.k8s.io";

    /// Checks that the engine may be sent out for the image `name`.
    ///
    /// # Errors
    /// The reason of a refusal.
    pub fn check(&self, name: &str) -> Result<(), String> {
        let registry = registry(name).to_ascii_lowercase();
        let registry = if registry == HUB_TOO { HUB } else { &registry };
        if self.0.contains(registry) {
            return Ok(());
        }
        let known: Vec<&str> = self.0.iter().map(String::as_str).collect();
        Err(format!(
            "{name} is not on this machine, and nothing is fetched from {registry}, only from: {}; \
             whoever runs the host can pull the image there first, or add the registry to \
             builds.registries",
            if known.is_empty() {
                "nowhere".to_owned()
            } else {
                known.join(", ")
            }
        ))
    }
}

impl Default for Registries {
    fn default() -> Self {
        Self::DEFAULT
            .parse()
            .unwrap_or_else(|_| Self(BTreeSet::new()))
    }
}

impl FromStr for Registries {
    type Err = &'static str;

    /// Reads names that are separated by commas. An empty text stands for no registry.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let names = text
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty());
        let names: BTreeSet<String> = names.map(str::to_ascii_lowercase).collect();
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-.:[]".contains(&b);
        if names
            .iter()
            .any(|name| registry(&format!("{name}/x")) != *name)
            || !names.iter().all(|name| name.bytes().all(is_plain))
        {
            return Err(
                "write names of registries with commas between, such as docker.io, registry.example.com:5000",
            );
        }
        Ok(Self(names))
    }
}

impl fmt::Display for Registries {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.0.iter().map(String::as_str).collect();
        formatter.write_str(&names.join(", "))
    }
}

/// Returns the registry in an image's name. Tells it from the first part of a path in the way engines do.
fn registry(name: &str) -> &str {
    match name.split_once('/') {
        Some((first, _))
            if first.contains(['.', ':']) || first.eq_ignore_ascii_case("localhost") =>
        {
            first
        }
        Some(_) | None => HUB,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_is_sent_to_trusted_registries_only() {
        let usual = Registries::default();
        for name in [
            "rust:1",
            "a/b",
            "GHCR.io/a/b:1",
            "docker.io/a",
            "index.docker.io/a/b",
        ] {
            assert_eq!(usual.check(name), Ok(()), "{name}");
        }
        for name in [
            "127.0.0.1/a",
            "localhost/a",
            "LOCALHOST:80/a",
            "registry:5000/a",
            "registry.example.com/a",
            "ghcr.io:443/a",
            "evil.ghcr.io/a",
            "169.254.169.254/latest",
            "0x7f.0x1/a",
        ] {
            let refused = usual.check(name).unwrap_err();
            assert!(
                refused.contains("nothing is fetched from"),
                "{name}: {refused}"
            );
        }
        let own: Registries = "Registry.example.com:5000".parse().unwrap();
        assert_eq!(own.check("registry.example.com:5000/a"), Ok(()));
        assert!(own.check("rust:1").unwrap_err().contains("from docker.io"));
        let none: Registries = "".parse().unwrap();
        assert!(none.check("rust:1").unwrap_err().contains("nowhere"));
    }

    #[test]
    fn only_names_of_registries_can_be_trusted() {
        for text in ["example", "a.b/c", "a.b:80:80/", "a.b c.d"] {
            assert!(text.parse::<Registries>().is_err(), "{text}");
        }
        assert_eq!(
            " b.c , a.b,".parse::<Registries>().unwrap().to_string(),
            "a.b, b.c"
        );
        assert!(!Registries::default().0.is_empty());
    }
}
