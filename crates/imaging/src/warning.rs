//! What the reader of a picture should know although its pixels are right.

/// Something odd about a file that did not keep it from being read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Warning {
    /// A text, EXIF, XMP or ICC block was not taken over.
    #[error("its {what} is left out: {reason}")]
    LeftOut {
        /// Which block.
        what: String,
        /// Why.
        reason: String,
    },
    /// The file holds an animation; this is its first frame.
    #[error("it is animated; this is its first frame")]
    FirstFrame,
    /// The file holds several pages; this is the first.
    #[error("it has several pages; this is the first")]
    FirstPage,
    /// Floating-point values were brought to 16 bits.
    #[error("its floating-point values are brought to 16 bits; what lies outside 0…1 is cut off")]
    FloatValues,
    /// A medical picture.
    #[error("it is a medical picture: what is shown or made of it here is not for diagnosis")]
    NotForDiagnosis,
    /// Ink values were turned into colours without knowing the inks.
    #[error("its inks (CMYK) are turned into colours without a usable profile; they may look different elsewhere")]
    InksWithoutProfile,
}

impl Warning {
    pub(crate) fn left_out(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::LeftOut { what: what.into(), reason: reason.into() }
    }
}
