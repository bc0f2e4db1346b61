//! On whose behalf something is asked for. Every query by id takes an [`Actor`], so that none can forget whose rows it may see.

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// The program itself: workers, clean-up, the command line of the machine's owner.
    System,
    /// A person or a key of theirs.
    User {
        /// The account.
        id: String,
        /// Whether the account may see and change what belongs to others.
        admin: bool,
    },
}

impl Actor {
    /// An account without special rights.
    pub fn member(id: impl Into<String>) -> Self {
        Self::User { id: id.into(), admin: false }
    }

    /// The account, or an empty text for the program itself.
    pub fn id(&self) -> &str {
        match self {
            Self::System => "",
            Self::User { id, .. } => id,
        }
    }

    /// Whether rows of every owner may be seen and changed.
    pub fn sees_all(&self) -> bool {
        match self {
            Self::System => true,
            Self::User { admin, .. } => *admin,
        }
    }
}
