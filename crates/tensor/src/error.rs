//! What can go wrong in a tensor operation; each sentence names the operation and the shapes or types that met.

use crate::storage::DType;

/// Why a tensor operation was refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TensorError {
    /// Shapes that do not go together.
    #[error("{op}: shapes {shapes} do not fit: {why}")]
    Shape {
        /// The operation that was asked for.
        op: &'static str,
        /// The shapes that met, as text.
        shapes: String,
        /// What would have fitted.
        why: String,
    },
    /// Element types that do not go together.
    #[error("{op}: element types {left} and {right} differ; cast one of them first")]
    DType {
        /// The operation that was asked for.
        op: &'static str,
        /// Type of the first operand.
        left: DType,
        /// Type of the other operand.
        right: DType,
    },
    /// An argument out of its range.
    #[error("{op}: {why}")]
    Argument {
        /// The operation that was asked for.
        op: &'static str,
        /// What is wrong and what is allowed.
        why: String,
    },
    /// The recorded graph cannot be walked.
    #[error("backward: {why}")]
    Graph {
        /// What is wrong with the graph.
        why: String,
    },
}

/// Result of a tensor operation.
pub type Result<T> = std::result::Result<T, TensorError>;

pub(crate) fn shape_error<T>(op: &'static str, shapes: &[&[usize]], why: impl Into<String>) -> Result<T> {
    let shapes = shapes.iter().map(|s| format!("{s:?}")).collect::<Vec<_>>().join(" and ");
    Err(TensorError::Shape { op, shapes, why: why.into() })
}

pub(crate) fn argument_error<T>(op: &'static str, why: impl Into<String>) -> Result<T> {
    Err(TensorError::Argument { op, why: why.into() })
}
