//! The one platform for which images are built, and the variables that tell a Dockerfile which it is.

/// The platform of the machine, for which every image is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Platform {
    architecture: &'static str,
}

impl Platform {
    /// Linux on an ordinary PC.
    pub const AMD64: Self = Self {
        architecture: "amd64",
    };
    /// Linux on 64-bit ARM.
    pub const ARM64: Self = Self {
        architecture: "arm64",
    };

    /// Returns the platform of the machine on which this process runs. The engine has the same platform,
    /// because it is reached by a Unix socket.
    #[must_use]
    pub fn of_this_machine() -> Self {
        let architecture = std::env::consts::ARCH;
        Self {
            architecture: usual_name(architecture).unwrap_or(architecture),
        }
    }

    /// Returns the name of the platform in the form that Dockerfiles use.
    #[must_use]
    pub fn name(self) -> String {
        format!("linux/{}", self.architecture)
    }

    /// Returns whether `text` names this platform.
    pub(super) fn is(self, text: &str) -> bool {
        let lower = text.to_ascii_lowercase();
        let mut parts = lower.split('/');
        let first = parts.next().unwrap_or_default();
        let architecture = match (first, parts.next()) {
            ("linux", None) => return true,
            ("linux", Some(architecture)) => architecture,
            (architecture, None) => architecture,
            (_other_system, Some(_)) => return false,
        };
        let variant = parts.next();
        let plain = match self.architecture {
            "arm64" => "v8",
            _ => "v1",
        };
        usual_name(architecture) == Some(self.architecture)
            && variant.is_none_or(|it| it == plain)
            && parts.next().is_none()
    }

    /// Returns the variables that a Dockerfile need not give a value, once it declares them.
    pub(super) fn variables(self, target: Option<&str>) -> [(&'static str, String); 9] {
        let architecture = || self.architecture.to_owned();
        [
            ("BUILDPLATFORM", self.name()),
            ("BUILDOS", "linux".to_owned()),
            ("BUILDARCH", architecture()),
            ("BUILDVARIANT", String::new()),
            ("TARGETPLATFORM", self.name()),
            ("TARGETOS", "linux".to_owned()),
            ("TARGETARCH", architecture()),
            ("TARGETVARIANT", String::new()),
            ("TARGETSTAGE", target.unwrap_or("default").to_owned()),
        ]
    }
}

fn usual_name(architecture: &str) -> Option<&'static str> {
    match architecture {
        "amd64" | "x86_64" | "x86-64" => Some("amd64"),
        "arm64" | "aarch64" => Some("arm64"),
        _unknown => None,
    }
}
