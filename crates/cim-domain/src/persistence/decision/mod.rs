//! Decisions over several aggregates: all of what follows is stored, or nothing, and only if every
//! aggregate that was looked at is still as it was.

mod draft;
mod participant;
mod participants;

use std::collections::HashSet;
use std::sync::Arc;

use cim_store::{Append, Appended, Context, EventLogError, ExpectedVersion, Metadata};
use futures_util::future::try_join_all;

pub use draft::Draft;
pub use participant::Participant;
pub use participants::Participants;

use participants::List;

use super::attempts::Attempts;
use super::{ExecuteOptions, Repository, RepositoryError};
use crate::Aggregate;

/// What came of a decision over several aggregates.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExecutedMany<T> {
    /// What the decision returned.
    pub value: T,
    /// What was stored, with the new head of each aggregate that got events; `None` where the
    /// decision recorded nothing.
    pub appended: Option<Appended>,
    /// How often it was decided: more than once where somebody else was first.
    pub attempts: u32,
}

impl<A: Aggregate> Repository<A> {
    /// An aggregate that takes part in a decision over several, for
    /// [`execute_many`](Self::execute_many).
    pub fn participant(&self, id: &A::Id) -> Participant<A> {
        Participant::new(self.clone(), id)
    }

    /// Decides over several aggregates, of this repository and of others over the same log.
    ///
    /// ```
    /// # use cim_domain::{Aggregate, DomainEvent};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Debug, PartialEq, Serialize, Deserialize, DomainEvent)]
    /// # enum AccountEvent { Deposited(u64), Withdrawn(u64) }
    /// # #[derive(Clone)] enum AccountCommand { Deposit(u64), Withdraw(u64) }
    /// # use AccountCommand::{Deposit, Withdraw};
    /// # #[derive(Debug, thiserror::Error)] #[error("not enough is left")] struct NotEnough;
    /// # #[derive(Default)] struct Account { balance: u64 }
    /// # impl Aggregate for Account {
    /// #     const CONTEXT: &'static str = "docs";
    /// #     const TYPE: &'static str = "account";
    /// #     type Id = String;
    /// #     type Event = AccountEvent;
    /// #     type Command = AccountCommand;
    /// #     type Error = NotEnough;
    /// #     fn apply(&mut self, event: &AccountEvent) {
    /// #         match event { AccountEvent::Deposited(n) => self.balance += n, AccountEvent::Withdrawn(n) => self.balance -= n }
    /// #     }
    /// #     fn handle(&self, command: AccountCommand) -> Result<Vec<AccountEvent>, NotEnough> {
    /// #         match command {
    /// #             Deposit(n) => Ok(vec![AccountEvent::Deposited(n)]),
    /// #             Withdraw(n) if n <= self.balance => Ok(vec![AccountEvent::Withdrawn(n)]),
    /// #             Withdraw(_) => Err(NotEnough),
    /// #         }
    /// #     }
    /// # }
    /// # #[derive(Debug, PartialEq, Serialize, Deserialize, DomainEvent)] enum BranchEvent { BranchClosed }
    /// # #[derive(Default)] struct Branch { closed: bool }
    /// # impl Aggregate for Branch {
    /// #     const CONTEXT: &'static str = "docs";
    /// #     const TYPE: &'static str = "branch";
    /// #     type Id = String;
    /// #     type Event = BranchEvent;
    /// #     type Command = ();
    /// #     type Error = std::convert::Infallible;
    /// #     fn apply(&mut self, _: &BranchEvent) { self.closed = true; }
    /// #     fn handle(&self, (): ()) -> Result<Vec<BranchEvent>, Self::Error> { Ok(vec![BranchEvent::BranchClosed]) }
    /// # }
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// # use cim_domain::{Repository, open, store::Context};
    /// let log = open("memory:").await?.log();
    /// let (accounts, branches) = (Repository::<Account>::new(log.clone()), Repository::<Branch>::new(log));
    /// let (ctx, anna, bert, main) = (Context::new(), "anna".to_owned(), "bert".to_owned(), "main".to_owned());
    /// accounts.execute(&ctx, &anna, Deposit(100)).await?;
    ///
    /// #[derive(Debug, thiserror::Error)]
    /// enum TransferError {
    ///     #[error("the branch is closed")]
    ///     BranchClosed,
    ///     #[error("the account refused")]
    ///     Account(#[from] NotEnough),
    /// }
    ///
    /// let all = (accounts.participant(&anna), accounts.participant(&bert), branches.participant(&main));
    /// let done = accounts
    ///     .execute_many(&ctx, all, |(anna, bert, branch)| {
    ///         if branch.state().closed {
    ///             return Err(TransferError::BranchClosed);
    ///         }
    ///         anna.handle(Withdraw(30))?;
    ///         bert.handle(Deposit(30))?;
    ///         Ok(anna.state().balance)
    ///     })
    ///     .await?;
    /// assert_eq!((done.value, done.appended.ok_or("stored")?.heads.len()), (70, 2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Behavior
    /// - The decision is a pure function of the drafts: it may be called several times.
    /// - What it records for all aggregates is one commit: stored whole, or not at all.
    /// - Aggregates for which nothing was recorded are *checked*: the commit is stored only if they
    ///   are still at the version that was looked at. So decisions are serializable: each stands on
    ///   one moment at which all that it saw was true.
    /// - That holds for a decision that is an error or records nothing, too: it is believed only if
    ///   every aggregate is still as it was seen.
    /// - Where somebody else was first, what is newer is loaded and it is decided again, as often as
    ///   this repository's [`RetryPolicy`](crate::RetryPolicy) says.
    /// - An aggregate that was deleted takes no part, unless the [`Recreation`](super::Recreation) of
    ///   its own repository says otherwise.
    ///
    /// # Errors
    /// `Rejected` with the decision's own error; `VersionConflict` when the attempts are used up or
    /// the deadline has come; `Store` with `Invalid` where an aggregate takes part twice or is in
    /// another log; `Deleted`, `Unknown` with the commit's id, `InvalidId`, `Encode`, `Decode`,
    /// `Integrity`.
    ///
    /// # Cancellation
    /// Dropping the future leaves the outcome unknown: everything is stored, or nothing.
    pub async fn execute_many<P, T, E>(
        &self,
        ctx: &Context,
        participants: P,
        decide: impl Fn(P::Drafts<'_>) -> Result<T, E> + Send + Sync,
    ) -> Result<ExecutedMany<T>, RepositoryError<E>>
    where
        P: Participants,
        T: Send,
        E: std::error::Error + Send + Sync + 'static,
    {
        let nothing = ExecuteOptions::default();
        self.execute_many_with(ctx, participants, nothing, decide)
            .await
    }

    /// The same as [`execute_many`](Self::execute_many), with metadata and tags for all events of the
    /// decision.
    ///
    /// ```
    /// # use cim_domain::{Aggregate, DomainEvent};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Debug, PartialEq, Serialize, Deserialize, DomainEvent)]
    /// # enum AccountEvent { Deposited { cents: u64 }, Credited { cents: u64 } }
    /// # use AccountEvent::{Credited, Deposited};
    /// # #[derive(Default)] struct Account { balance: u64 }
    /// # impl Aggregate for Account {
    /// #     const CONTEXT: &'static str = "docs";
    /// #     const TYPE: &'static str = "account";
    /// #     type Id = String;
    /// #     type Event = AccountEvent;
    /// #     type Command = u64;
    /// #     type Error = std::convert::Infallible;
    /// #     fn apply(&mut self, event: &AccountEvent) { let (Deposited { cents } | Credited { cents }) = event; self.balance += cents; }
    /// #     fn handle(&self, cents: u64) -> Result<Vec<AccountEvent>, Self::Error> { Ok(vec![Deposited { cents }]) }
    /// # }
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// # use cim_domain::{Repository, open, store::{Context, StreamRange}};
    /// use cim_domain::persistence::{ExecuteOptions, Tags};
    ///
    /// let accounts = Repository::<Account>::new(open("memory:").await?.log());
    /// let ctx = Context::new();
    /// for owner in ["anna", "bert"] {
    ///     accounts.execute(&ctx, &owner.to_owned(), 10_000).await?;
    /// }
    ///
    /// // Interest for all of them or for none. Participants of one type can be a `Vec`.
    /// let owners = ["anna", "bert"].map(|owner| accounts.participant(&owner.to_owned()));
    /// let options = ExecuteOptions { tags: Tags::new(["interest:2026"])?, ..Default::default() };
    /// let paid = accounts
    ///     .execute_many_with(&ctx, Vec::from(owners), options, |drafts| {
    ///         let mut paid = 0;
    ///         for account in drafts {
    ///             let cents = account.state().balance / 100;
    ///             account.record(Credited { cents }); // an event that no command leads to
    ///             paid += cents;
    ///         }
    ///         Ok::<_, std::convert::Infallible>(paid)
    ///     })
    ///     .await?;
    /// assert_eq!(paid.value, 200);
    ///
    /// let bert = accounts.history(&ctx, &"bert".to_owned(), StreamRange::all()).await?.all().await?;
    /// assert!(Tags::of(&bert[1].recorded).contains("interest:2026"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidTags`; as [`execute_many`](Self::execute_many).
    pub async fn execute_many_with<P, T, E>(
        &self,
        ctx: &Context,
        mut participants: P,
        options: ExecuteOptions,
        decide: impl Fn(P::Drafts<'_>) -> Result<T, E> + Send + Sync,
    ) -> Result<ExecutedMany<T>, RepositoryError<E>>
    where
        P: Participants,
        T: Send,
        E: std::error::Error + Send + Sync + 'static,
    {
        let metadata = options.tags.add_to(&options.metadata)?;
        self.check_members(participants.members())?;
        begin(participants.members(), ctx).await?;
        let List(members) = participants.members();
        try_join_all(members.into_iter().map(|member| member.prepare(ctx))).await?;
        let mut attempts = Attempts::first();
        loop {
            refuse_deleted(&participants.members())?;
            let decided = decide(participants.drafts());
            let append = commit(&participants.members(), decided.is_err(), &metadata)?;
            let (append, commit_id) = self.writer.complete(ctx, append, None);
            let List(mut members) = participants.members();
            let may_be_behind = members.iter().any(|member| member.may_be_behind());
            let is_trivial = append.event_count() == 0 && append.checks.len() < 2;
            if is_trivial && !may_be_behind {
                // One aggregate was read once: that is a moment.
                return settled(decided, None, attempts.made());
            }
            members.iter_mut().for_each(|member| member.appends());
            let error = match self.writer.append(ctx, &append, commit_id).await {
                Ok(appended) => {
                    for member in &mut members {
                        member.stored(ctx, &append, &appended).await;
                    }
                    let appended = (append.event_count() > 0).then_some(appended);
                    return settled(decided, appended, attempts.made());
                }
                Err(fault) => RepositoryError::from(fault),
            };
            if matches!(error, RepositoryError::Unknown { .. }) {
                members.iter_mut().for_each(|member| member.forget());
            }
            if !error.is_conflict() {
                return Err(error);
            }
            if !attempts
                .again_after_conflict(&self.writer, ctx, commit_id, may_be_behind)
                .await
            {
                return Err(error);
            }
            try_join_all(members.into_iter().map(|member| member.refresh(ctx))).await?;
        }
    }

    fn check_members<E: std::error::Error + 'static>(
        &self,
        List(members): List<'_>,
    ) -> Result<(), RepositoryError<E>> {
        let mut streams = HashSet::new();
        for member in &members {
            let stream = member
                .stream()
                .map_err(|(id, source)| RepositoryError::invalid_id(id, source.clone()))?;
            if !Arc::ptr_eq(member.log(), self.log()) {
                return Err(EventLogError::invalid(
                    "an aggregate that takes part in a decision is in another log",
                )
                .with("stream", stream)
                .with_hint("make all repositories over the same log")
                .into());
            }
            if !streams.insert(stream) {
                return Err(
                    EventLogError::invalid("an aggregate takes part in a decision twice")
                        .with("stream", stream)
                        .into(),
                );
            }
        }
        Ok(())
    }
}

/// Waits for the turns of all, one after the other and everybody in the same order, so that no two
/// decisions wait for each other.
async fn begin(List(mut members): List<'_>, ctx: &Context) -> Result<(), EventLogError> {
    members.sort_unstable_by(|one, other| one.stream().ok().cmp(&other.stream().ok()));
    for member in members {
        member.begin(ctx).await?;
    }
    Ok(())
}

fn settled<T, E: std::error::Error + 'static>(
    decided: Result<T, E>,
    appended: Option<Appended>,
    attempts: u32,
) -> Result<ExecutedMany<T>, RepositoryError<E>> {
    let value = decided.map_err(RepositoryError::Rejected)?;
    Ok(ExecutedMany {
        value,
        appended,
        attempts,
    })
}

fn refuse_deleted<E: std::error::Error + 'static>(
    List(members): &List<'_>,
) -> Result<(), RepositoryError<E>> {
    match members.iter().find_map(|member| member.tombstone()) {
        Some(tombstone) => Err(tombstone.into()),
        None => Ok(()),
    }
}

/// The commit of a decision: what was recorded, and checks of everything else. Of a decision that
/// failed, checks alone.
fn commit<E: std::error::Error + 'static>(
    List(members): &List<'_>,
    failed: bool,
    metadata: &Metadata,
) -> Result<Append, RepositoryError<E>> {
    let mut append = Append::new();
    for member in members {
        let Ok(stream) = member.stream() else {
            continue; // refused before
        };
        let events = match failed {
            true => Vec::new(),
            false => member.encode(stream, metadata)?,
        };
        append = match events.is_empty() {
            true => append.check(stream.clone(), member.version()),
            false => {
                let expected = ExpectedVersion::Exact(member.version());
                append.write(stream.clone(), expected, events)
            }
        };
    }
    Ok(append)
}
