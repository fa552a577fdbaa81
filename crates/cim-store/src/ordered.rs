//! Several commits that are stored in a given order: what an import, a restore or a migration needs.

use crate::{Append, Appended, Context, EventLog, EventLogError};

/// One of several commits that are to be stored in order; see
/// [`EventLog::append_in_order`].
#[derive(Clone, Debug, Default)]
pub struct OrderedAppend {
    /// On whose behalf and in which trace this commit is stored; its deadline does not matter.
    pub ctx: Context,
    /// The commit.
    pub append: Append,
}

impl OrderedAppend {
    /// A commit with a context of its own.
    pub fn new(ctx: Context, append: Append) -> Self {
        Self { ctx, append }
    }
}

/// What became of commits that were to be stored in order.
#[derive(Debug, Default)]
pub struct AppendedInOrder {
    /// The results of the first commits, in their order. All of these are stored.
    pub appended: Vec<Appended>,
    /// Why the next one is not stored, or not known to be (`Unknown`); `None` where all are stored.
    /// Nothing that comes after it is stored.
    pub error: Option<EventLogError>,
}

/// Appends one commit after the other, each when the one before was acknowledged. For logs that
/// have no quicker way, and for wrappers that treat every append by itself.
pub async fn one_by_one(
    log: &(impl EventLog + ?Sized),
    ctx: &Context,
    commits: Vec<OrderedAppend>,
) -> AppendedInOrder {
    let mut done = AppendedInOrder::default();
    for commit in commits {
        let own = commit.ctx.with_deadline_of(ctx);
        match log.append(&own, commit.append).await {
            Ok(appended) => done.appended.push(appended),
            Err(error) => {
                done.error = Some(error);
                break;
            }
        }
    }
    done
}
