//! Content by its address: a store of blocks, values and bytes of any size over the port
//! [`Bucket`](cim_store::Bucket).
//!
//! | file | what it does |
//! |---|---|
//! | `store` | what applications call to put and get |
//! | `blocks` | blocks in their bucket, kept once and checked; how puts and sweeps go together |
//! | `layout`, `large` | large content as a tree of blocks, pure and as streams |
//! | `roots` | pins, descriptions, links: what keeps content |
//! | `chain` | chains of content with their heads |
//! | `garbage` | finding, marking and sweeping what nothing keeps |
//! | `names`, `records` | keys and values, as docs/format/content.md says |

mod blocks;
mod chain;
mod error;
mod garbage;
mod large;
mod layout;
mod names;
mod records;
mod roots;
mod settings;
mod store;

pub use chain::{Chain, ChainStream};
pub use error::{ContentError, Shape};
pub use garbage::{Marked, Swept};
pub use large::ContentStream;
pub use roots::{ContentMetadata, Pin, Reach};
pub use settings::{ContentSettings, Description, PutOptions};
pub use store::{ContentStore, Stored};

/// The documented name of the [`ContentStore`]: content-addressed storage, chain verification, CID
/// generation, metadata.
pub type IpldSerializer = ContentStore;
