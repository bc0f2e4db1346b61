//! Why a command ended without doing its work, and the exit status that says so.

/// A sentence for the user, already in the user's language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The command line or the settings make no sense: exit status 2.
    Usage(String),
    /// The work could not be done: exit status 1.
    Failed(String),
    /// The user stopped it: exit status 130, as shells expect after Ctrl-C.
    Stopped(String),
}

impl Failure {
    /// An error that explains itself.
    pub(crate) fn of(error: &dyn std::fmt::Display) -> Self {
        Self::Failed(error.to_string())
    }

    /// The exit status.
    pub(crate) fn status(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Failed(_) => 1,
            Self::Stopped(_) => 130,
        }
    }

    /// The sentence.
    pub(crate) fn sentence(&self) -> &str {
        match self {
            Self::Usage(s) | Self::Failed(s) | Self::Stopped(s) => s,
        }
    }
}
