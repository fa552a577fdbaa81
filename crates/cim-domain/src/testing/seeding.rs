//! Gives a real repository the past that a test of a service starts from.

use std::panic::Location;

use cim_store::{Context, Limits, Version};

use crate::persistence::{Repository, SaveOptions};
use crate::{Aggregate, DomainEvent};

/// Stores events as the whole past of an aggregate that does not exist yet, for tests of what works
/// with a repository: services, policies, read models. Gives the version that the aggregate is then
/// at. The events are not decided upon, so a test can begin where no command leads any more.
///
/// ```
/// # use cim_domain::{Aggregate, DomainEvent};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Debug, PartialEq, Serialize, Deserialize, DomainEvent)]
/// # enum JarEvent { Filled(u32) }
/// # #[derive(Debug, Default, PartialEq)] struct Jar(u32);
/// # impl Aggregate for Jar {
/// #     const CONTEXT: &'static str = "kitchen";
/// #     const TYPE: &'static str = "jar";
/// #     type Id = String;
/// #     type Event = JarEvent;
/// #     type Command = u32;
/// #     type Error = std::convert::Infallible;
/// #     fn apply(&mut self, event: &JarEvent) { let JarEvent::Filled(n) = event; self.0 += n; }
/// #     fn handle(&self, n: u32) -> Result<Vec<JarEvent>, Self::Error> {
/// #         Ok(vec![JarEvent::Filled(n)])
/// #     }
/// # }
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use cim_domain::prelude::*;
/// use cim_domain::testing::given_events;
///
/// let jars = Repository::<Jar>::new(open("memory:").await?.log());
/// let (ctx, jam) = (Context::new(), "jam".to_owned());
///
/// given_events(&jars, &ctx, &jam, [JarEvent::Filled(3), JarEvent::Filled(4)]).await;
/// assert_eq!(jars.execute(&ctx, &jam, 1).await?.state, Jar(8));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Panics
/// If the aggregate has events already, or they can't be stored; it names the place in the test.
#[track_caller]
pub fn given_events<A: Aggregate>(
    repository: &Repository<A>,
    ctx: &Context,
    id: &A::Id,
    events: impl IntoIterator<Item = A::Event>,
) -> impl Future<Output = Version> {
    // An async function does not know who called it.
    let caller = Location::caller();
    let events: Vec<A::Event> = events.into_iter().collect();
    async move {
        let stored = store(repository, ctx, id, events).await;
        stored.unwrap_or_else(|sentence| panic!("given_events at {caller}: {sentence}"))
    }
}

async fn store<A: Aggregate>(
    repository: &Repository<A>,
    ctx: &Context,
    id: &A::Id,
    events: Vec<A::Event>,
) -> Result<Version, String> {
    let mut version = Version::NONE;
    let mut events = events.into_iter();
    loop {
        // More than a commit may hold go into several.
        let commit: Vec<A::Event> = events
            .by_ref()
            .take(Limits::CONTRACT.commit_events)
            .collect();
        if commit.is_empty() {
            return Ok(version);
        }
        let first = commit.first().map_or("", DomainEvent::event_type);
        let sentence = |error: &dyn std::error::Error| {
            let mut text = format!("events from `{first}` on can't be stored for {id}: {error}");
            let mut next = error.source();
            while let Some(cause) = next {
                text.push_str(&format!("\n  because: {cause}"));
                next = cause.source();
            }
            text
        };
        let options = SaveOptions {
            expected_version: Some(version),
            ..SaveOptions::default()
        };
        let saved = repository.save(ctx, id, commit, options).await;
        version = saved.map_err(|error| sentence(&error))?.version;
    }
}
