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
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use cim_store::{memory::MemoryStore, ordered::one_by_one, *};
///
/// # let (store, ctx) = (MemoryStore::new(), Context::new());
/// # let log = store.log();
/// # let order = StreamId::new("sales", "order", "7")?;
/// # let placed = NewEvent::json("order_placed", &12)?;
/// # log.append_to(&ctx, &order, ExpectedVersion::NEW, vec![placed.clone()]).await?;
/// // What a wrapper does in its own `append_in_order`.
/// let paid = NewEvent::json("order_paid", &12)?;
/// let next = Append::new().write(order.clone(), Version::new(1), vec![paid.clone()]);
/// let late = Append::new().write(order, Version::new(1), vec![paid]);
/// let commits = [next, late].map(|append| OrderedAppend::new(ctx.clone(), append));
/// let done = one_by_one(&*log, &ctx, commits.into()).await;
/// assert_eq!(done.appended.len(), 1); // it ends with the first that can't be stored
/// assert!(done.error.is_some_and(|error| error.is_conflict()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
