//! Counts how often something was decided, and says whether it is decided once more.

use cim_store::{CommitId, Context};

use super::append::Writer;

/// How often a decision was made until it was stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempts {
    made: u32,
    /// Those that were made upon a state which was kept too long: nobody's failed attempts.
    outdated: u32,
}

impl Attempts {
    /// The first one is under way.
    pub(super) fn first() -> Self {
        Self {
            made: 1,
            outdated: 0,
        }
    }

    pub(super) fn made(&self) -> u32 {
        self.made
    }

    /// Another one follows, because the one before was made upon a state that was kept too long.
    pub(super) fn again(&mut self) {
        self.made += 1;
        self.outdated += 1;
    }

    /// Whether another one follows on a conflict; waits before it. `was_kept` where the one before
    /// was made upon a state that was kept.
    pub(super) async fn again_after_conflict(
        &mut self,
        writer: &Writer,
        ctx: &Context,
        commit: CommitId,
        was_kept: bool,
    ) -> bool {
        if was_kept {
            self.again();
            return true;
        }
        let failed = self.made - self.outdated;
        let may = writer.retry.allows_another(failed) && writer.pause(ctx, failed, commit).await;
        self.made += u32::from(may);
        may
    }
}
