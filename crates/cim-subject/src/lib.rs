//! Subjects: the dotted names under which events, states, read models and snapshots are addressed.
//!
//! - [`Subject`] is one concrete name, such as `cim.events.sales.order.42.order_placed.1`.
//! - [`SubjectPattern`] names a set of subjects (`*` is one token, `>` is the rest) and brings the
//!   algebra over such sets: [`contains`](SubjectPattern::contains),
//!   [`intersects`](SubjectPattern::intersects), [`intersection`](SubjectPattern::intersection) and
//!   an order of [`Specificity`].
//! - [`token`] spells any non-empty text as one token, reversibly.
//! - [`SubjectScheme`] renders and parses a hierarchy that a template describes.
//!
//! Everything here is pure: no I/O, no clock, no runtime. All names are valid NATS subjects.
//!
//! ```
//! use cim_subject::{SubjectPattern, SubjectScheme};
//!
//! let events = SubjectScheme::events();
//! let placed = events.render(&[
//!     ("context", "sales"),
//!     ("aggregate", "order"),
//!     ("id", "no. 42"),
//!     ("event", "order_placed"),
//!     ("version", "1"),
//! ])?;
//! assert_eq!(placed.as_str(), "cim.events.sales.order.no=2E=2042.order_placed.1");
//! assert_eq!(events.parse(&placed)?.get("id"), Some("no. 42"));
//!
//! let sales = SubjectPattern::new("cim.events.sales.>")?;
//! assert!(sales.matches(&placed));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod algebra;
mod error;
mod hierarchies;
mod pattern;
mod scheme;
mod specificity;
mod subject;
mod template;
pub mod token;
mod values;

pub use error::{SchemeError, SubjectError};
pub use pattern::SubjectPattern;
pub use scheme::SubjectScheme;
pub use specificity::Specificity;
pub use subject::Subject;
pub use token::{TokenError, decode_token, encode_token};
pub use values::SchemeValues;

/// The page of the format: its example is run with the others.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/format/subjects.md")]
struct FormatPage;
