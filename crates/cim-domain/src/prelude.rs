//! What most files of an application need: `use cim_domain::prelude::*;`.

pub use crate::event::{DomainEvent, UpcastError};
pub use crate::open::open;
pub use crate::persistence::{LoadOptions, Repository, RepositoryError, RetryPolicy, SaveOptions};
pub use crate::testing::{given, given_events, given_events_no_runtime, given_no_events};
pub use crate::{Aggregate, store};

pub use cim_store::{BucketExt, Context, EventLogExt, Metadata, Store, StreamRange, Version};
