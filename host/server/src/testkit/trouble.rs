//! What a fake engine's trouble is to a host.

use super::Trouble;
use hersh_sandbox::{BuildError, StartError, StopError, Unavailable};

impl Trouble {
    fn message(self) -> String {
        match self {
            Self::Failed(message) | Self::Unavailable(message) => message,
            Self::ImageGone(image) => format!("the image {image} is gone"),
        }
    }
}

impl From<Trouble> for Unavailable {
    fn from(trouble: Trouble) -> Self {
        let message = trouble.message();
        Self { message }
    }
}

impl From<Trouble> for StopError {
    fn from(trouble: Trouble) -> Self {
        Self::Unavailable(trouble.into())
    }
}

impl From<Trouble> for BuildError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Failed(message) => Self::Failed {
                message,
                logs: Vec::new(),
            },
            Trouble::ImageGone(_) | Trouble::Unavailable(_) => Self::Unavailable(trouble.into()),
        }
    }
}

impl From<Trouble> for StartError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Failed(message) => Self::Failed {
                message,
                logs: Vec::new(),
            },
            Trouble::ImageGone(image) => Self::ImageGone(image),
            Trouble::Unavailable(message) => Self::Unavailable(Unavailable { message }),
        }
    }
}

/// What a runtime makes of an answer that is none to its request.
pub(super) fn strange() -> Trouble {
    Trouble::Unavailable("the fake engine's answer is none to this request".into())
}
