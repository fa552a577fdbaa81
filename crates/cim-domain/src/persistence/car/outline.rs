//! What follows from a history's events: its pages, the heads of its streams, its tree head and its
//! root. Whoever writes a file appends them, whoever reads one compares them, and both find out with
//! each event whether it belongs where it stands.

use std::collections::HashMap;

use cim_ipld::{ChainFault, ChainHead, ChainLink, ChainVerifier, Cid, EventBlock, EventCid};
use cim_store::StreamPattern;

use super::error::LayoutError;
use super::layout::{HEADS_STREAMS, Heads, LAYOUT_VERSION, LayoutBlock, PAGE_EVENTS, Page, Root};
use crate::persistence::checkpoint::tree::{TreeHash, TreeHasher};

/// The outline of the events so far. Memory is one head per stream.
#[derive(Debug, Default)]
pub(crate) struct Outline {
    heads: HashMap<Box<str>, ChainHead>,
    /// The events of the page that is not full yet.
    page: Vec<Cid>,
    last_page: Option<Cid>,
    tree: TreeHasher,
    events: u64,
}

impl Outline {
    /// How many events there are so far.
    pub(crate) fn events(&self) -> u64 {
        self.events
    }

    /// Whether this stream has an event.
    pub(crate) fn has_stream(&self, stream: &str) -> bool {
        self.heads.contains_key(stream)
    }

    /// Takes the next event of the log, whose block was decoded and hashed: `cid` is what it hashes
    /// to.
    ///
    /// # Errors
    /// Where it does not follow the event before it in its stream.
    pub(crate) fn push(
        &mut self,
        event: &EventBlock<'_>,
        cid: EventCid,
    ) -> Result<(), Box<ChainFault>> {
        let next = ChainHead {
            version: event.version,
            cid,
        };
        match self.heads.get_mut(event.stream) {
            Some(head) => {
                // What holds of nearly every event, without making a verifier for it.
                let follows = event.version.checked_sub(1) == Some(head.version)
                    && event.previous == Some(head.cid);
                if !follows {
                    verify(event, cid, Some(*head))?;
                }
                *head = next;
            }
            None => {
                verify(event, cid, None)?;
                self.heads.insert(event.stream.into(), next);
            }
        }
        self.page.push(cid.to_cid());
        self.tree.push_event(&cid);
        self.events += 1;
        Ok(())
    }

    /// The page of the last events, once it is full.
    pub(crate) fn full_page(&mut self) -> Option<Result<LayoutBlock, LayoutError>> {
        (self.page.len() == PAGE_EVENTS).then(|| self.take_page())
    }

    /// The page of the last events, where there are any that no page names yet.
    pub(crate) fn last_page(&mut self) -> Option<Result<LayoutBlock, LayoutError>> {
        (!self.page.is_empty()).then(|| self.take_page())
    }

    fn take_page(&mut self) -> Result<LayoutBlock, LayoutError> {
        let page = Page {
            prev: self.last_page,
            events: std::mem::take(&mut self.page),
        };
        let block = page.to_block()?;
        self.last_page = Some(block.cid);
        self.page = page.events;
        self.page.clear();
        Ok(block)
    }

    /// Nothing follows any more, and [`last_page`](Self::last_page) was taken: the heads, one block
    /// at a time, and then the root.
    pub(crate) fn close(self) -> Closing {
        let events = self.events;
        let tree = self.tree.root();
        let mut heads: Vec<(Box<str>, ChainHead)> = self.heads.into_iter().collect();
        heads.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        Closing {
            log: self.last_page,
            heads,
            named: 0,
            last_heads: None,
            tree,
            events,
        }
    }
}

/// Says why an event does not follow, or that it does.
fn verify(
    event: &EventBlock<'_>,
    cid: EventCid,
    head: Option<ChainHead>,
) -> Result<(), Box<ChainFault>> {
    let mut chain = match head {
        Some(head) => ChainVerifier::resume(event.stream, head),
        None => ChainVerifier::start(event.stream),
    };
    let link = ChainLink {
        stream: event.stream,
        version: event.version,
        previous: event.previous,
        cid,
    };
    chain.link(&link).map(|_| ()).map_err(Box::new)
}

/// The heads and the root of a history whose events have all come.
#[derive(Debug)]
pub(crate) struct Closing {
    log: Option<Cid>,
    heads: Vec<(Box<str>, ChainHead)>,
    /// How many of the heads a block names already.
    named: usize,
    last_heads: Option<Cid>,
    tree: TreeHash,
    events: u64,
}

impl Closing {
    /// The next block of heads; `None` after the last one.
    pub(crate) fn next_heads(&mut self) -> Option<Result<LayoutBlock, LayoutError>> {
        let rest = self.heads.get(self.named..).unwrap_or_default();
        let some = rest.get(..HEADS_STREAMS).unwrap_or(rest);
        if some.is_empty() {
            return None;
        }
        let block = Heads {
            prev: self.last_heads,
            heads: some
                .iter()
                .map(|(stream, head)| (&**stream, head.version, head.cid.to_cid()))
                .collect(),
        };
        self.named += some.len();
        let block = block.to_block();
        self.last_heads = block.as_ref().ok().map(|block| block.cid);
        Some(block)
    }

    /// The first stream, by name, that a pattern does not match.
    pub(crate) fn stream_outside(&self, pattern: &StreamPattern) -> Option<&str> {
        let names = self.heads.iter().map(|(stream, _)| &**stream);
        names
            .into_iter()
            .find(|stream| !pattern.as_pattern().matches_str(stream))
    }

    /// The root, after the last block of heads.
    pub(crate) fn root(&self, pattern: Option<String>) -> Root {
        Root {
            v: LAYOUT_VERSION,
            log: self.log,
            tree: self.tree,
            heads: self.last_heads,
            events: self.events,
            pattern,
            streams: self.heads.len() as u64,
        }
    }
}
