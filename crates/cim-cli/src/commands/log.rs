//! `cim log`: all streams in the order they were stored, and what comes.

use std::sync::Arc;

use cim_domain::persistence::event_index::{EventIndex, IndexQuery, IndexSettings};
use cim_store::{
    Context, CorrelationId, EventFilter, EventType, LogQuery, Position, RecordedEvent, Store,
};
use cim_subject::SubjectPattern;
use clap::Args;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};

use crate::commands::{parse_event_pattern, parse_uuid};
use crate::error::Failure;
use crate::render::{EventLine, LogRow};
use crate::session::{Session, StoreMode};

/// Read the log of all streams
///
/// Shows events in the order they were stored. PATTERN is over their subjects,
/// `cim.events.{context}.{aggregate}.{id}.{type}.{version}`: `*` is one token, `>` the rest. A
/// pattern that does not begin with `cim.events.` is taken relative to it, and one with fewer
/// tokens than a subject means everything below it: `sales` is `cim.events.sales.>`,
/// `sales.order.7` is every event of that stream, and `sales.order.*.order_placed` is every
/// version of that event.
///
/// `--correlation` shows one conversation, across all aggregates. Where applications keep an index in
/// the store (the bucket `cim-index`), it is used, after it has taken in what is new; where there is
/// none, every event is looked at, and none is made.
///
/// `--follow` keeps the store open until Ctrl-C. A directory store is open in one process at a
/// time, so nothing else can append to it meanwhile: an application follows its own store with a
/// subscription.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  cim log
  cim log sales.order.7
  cim log 'sales.order.*.order_placed' --limit 10
  cim log --type order_placed --type order_paid --after 1200
  cim log --correlation 0193f2a4-7c1e-7d52-9a3b-5f0c8e21d6b7
  cim log '*.order' --follow --json | jq -c '[.stream, .type]'")]
pub struct LogArgs {
    /// Which events
    #[arg(default_value = ">", value_parser = parse_event_pattern)]
    pattern: SubjectPattern,
    /// Only events of this type; can be given several times
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<EventType>,
    /// Only events of this conversation
    #[arg(long, value_name = "UUID", value_parser = parse_uuid::<CorrelationId>)]
    correlation: Option<CorrelationId>,
    /// Only events after this position, exclusive; without it from the first event that is there
    #[arg(long, value_name = "POSITION")]
    after: Option<u64>,
    /// At most so many events
    #[arg(long, value_name = "EVENTS")]
    limit: Option<u64>,
    /// Then wait for events and show them as they are stored
    #[arg(long, short)]
    follow: bool,
}

impl LogArgs {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<(), Failure> {
        let filter = EventFilter {
            pattern: Some(self.pattern),
            types: self.types,
            time: None,
        };
        let store = session.open(StoreMode::MustExist).await?;
        let log = store.log();
        let ctx = Context::new();
        let after = match self.after {
            Some(position) => Position::new(position),
            None => {
                let truncated = log.stats(&ctx).await?.truncated_through;
                if truncated > Position::NONE {
                    session.ui.notice(format_args!(
                        "events up to position {truncated} were truncated; an archive holds them"
                    ));
                }
                truncated
            }
        };
        let index = match self.correlation {
            Some(_) if !self.follow => index(&store, &ctx).await?,
            _ => None,
        };
        let mut events: BoxStream<'static, Result<RecordedEvent, Failure>> =
            match (index, self.correlation) {
                (Some(index), Some(id)) => {
                    let query = IndexQuery::correlation(id).matching(filter).after(after);
                    index.read(&ctx, query).await?.err_into().boxed()
                }
                _ if self.follow => {
                    let events = log.subscribe(&ctx, filter, after).await?;
                    events.err_into().boxed()
                }
                (_, conversation) => {
                    let query = LogQuery {
                        // What is looked at is more than what is shown of a conversation.
                        limit: self.limit.filter(|_| conversation.is_none()),
                        ..LogQuery::all().filter(filter).after(after)
                    };
                    log.read_log(&ctx, query).await?.err_into().boxed()
                }
            };
        if let Some(id) = self.correlation {
            let is_its = move |event: &RecordedEvent| event.correlation_id == Some(id);
            let its = events.try_filter(move |event| std::future::ready(is_its(event)));
            events = its.boxed();
        }
        let ui = &mut *session.ui;
        if !ui.is_json() {
            ui.line(LogRow::title(ui))?;
        }
        let mut left = self.limit.unwrap_or(u64::MAX);
        while left > 0 {
            if self.follow {
                ui.flush()?;
            }
            let Some(event) = events.try_next().await? else {
                break;
            };
            if ui.is_json() {
                ui.json(&EventLine::of(&event))?;
            } else {
                ui.line(LogRow::of(ui, &event))?;
            }
            left -= 1;
        }
        Ok(())
    }
}

/// The index that applications keep in the store, if they do.
async fn index(store: &Arc<dyn Store>, ctx: &Context) -> Result<Option<EventIndex>, Failure> {
    let settings = IndexSettings::default();
    let buckets = store.buckets(ctx).await?;
    if !buckets
        .iter()
        .any(|(name, _)| name.as_str() == settings.bucket)
    {
        return Ok(None);
    }
    Ok(Some(EventIndex::open(&**store, settings).await?))
}
