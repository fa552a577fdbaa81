//! Entities: what has an identity that outlasts its changes.

use std::fmt;

/// A value that knows which one it is.
///
/// Repositories that keep states ask it where a value belongs; those that keep events ask an
/// aggregate which one its new events are of. Repositories of states also need serde's
/// `Serialize` and `Deserialize`.
///
/// ```
/// use cim_domain::Entity;
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Product {
///     number: String,
///     price: u32,
/// }
///
/// impl Entity for Product {
///     type Id = String;
///
///     fn id(&self) -> &String {
///         &self.number
///     }
/// }
/// ```
pub trait Entity: Send + Sync + 'static {
    /// What tells one from another: a UUID, a text, or a type around one. Two ids that differ have
    /// different texts, and no text is empty.
    type Id: fmt::Display + Send + Sync + 'static;

    /// Which one it is. It stays the same whatever else changes.
    fn id(&self) -> &Self::Id;
}
