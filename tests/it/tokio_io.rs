//! The tokio traits.
