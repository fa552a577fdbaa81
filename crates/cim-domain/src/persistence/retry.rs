//! How often and after which pauses a repository tries again.

use std::time::Duration;

use cim_store::CommitId;

/// How often a command is decided, and how long the repository waits in between.
///
/// The pause before the next attempt is random between nothing and a bound, so that those who met
/// once don't meet again; the bound doubles with every attempt, from
/// [`first_delay`](Self::first_delay) to [`longest_delay`](Self::longest_delay). The randomness
/// comes from the commit's id, so a test that decides ids decides pauses too. (Marc Brooker,
/// "Exponential Backoff and Jitter", AWS 2015, calls this *full jitter*.)
///
/// The same pauses apply where the outcome of an append is not known and the same commit is
/// appended again: until the context's deadline, or where it has none, or the policy no pauses, as
/// often as [`attempts`](Self::attempts) says.
///
/// ```
/// use std::time::Duration;
/// use cim_domain::RetryPolicy;
///
/// let patient = RetryPolicy { attempts: 100, ..RetryPolicy::default() };
/// assert_eq!(patient.longest_delay, Duration::from_millis(100));
/// assert_eq!(RetryPolicy::never().attempts, 1);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How often in all, the first time included; 0 counts as 1.
    pub attempts: u32,
    /// The bound of the first pause.
    pub first_delay: Duration,
    /// The bound that no pause exceeds.
    pub longest_delay: Duration,
}

impl RetryPolicy {
    /// The first outcome counts, whatever it is.
    pub const fn never() -> Self {
        Self {
            attempts: 1,
            first_delay: Duration::ZERO,
            longest_delay: Duration::ZERO,
        }
    }

    /// Whether another attempt may follow after so many.
    pub(super) fn allows_another(&self, attempts_made: u32) -> bool {
        attempts_made < self.attempts
    }

    /// Whether it tries again and there are pauses in between.
    pub(super) fn waits(&self) -> bool {
        self.attempts > 1 && !self.first_delay.min(self.longest_delay).is_zero()
    }

    /// The pause after so many attempts, for this commit.
    pub(super) fn delay(&self, attempts_made: u32, commit: CommitId) -> Duration {
        let doublings = attempts_made.saturating_sub(1).min(31);
        let bound = self
            .first_delay
            .saturating_mul(1 << doublings)
            .min(self.longest_delay);
        bound.mul_f64(fraction(commit, attempts_made))
    }
}

impl Default for RetryPolicy {
    /// 10 attempts with pauses of at most 1, 2, 4, … 100 milliseconds.
    fn default() -> Self {
        Self {
            attempts: 10,
            first_delay: Duration::from_millis(1),
            longest_delay: Duration::from_millis(100),
        }
    }
}

/// A number from 0 to below 1 that is evenly spread over commits and attempts.
fn fraction(commit: CommitId, attempt: u32) -> f64 {
    let (high, low) = commit.as_uuid().as_u64_pair();
    let mixed = mix(mix(high ^ u64::from(attempt)) ^ low);
    // 53 bits are what a float holds exactly.
    (mixed >> 11) as f64 / (1_u64 << 53) as f64
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014): every bit of the input moves half of the
/// output's bits.
pub(crate) fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cim_store::{IdGenerator, SequentialIds};

    fn commits(count: usize) -> Vec<CommitId> {
        let ids = SequentialIds::new(1);
        (0..count)
            .map(|_| CommitId::from_uuid(ids.next_uuid()))
            .collect()
    }

    #[test]
    fn pauses_stay_below_a_bound_that_doubles_up_to_the_longest() {
        let policy = RetryPolicy::default();
        for commit in commits(100) {
            for attempts in 1..=40 {
                let bound = 1_u64 << (attempts - 1).min(20);
                let bound = Duration::from_millis(bound.min(100));
                assert!(policy.delay(attempts, commit) <= bound);
            }
        }
    }

    #[test]
    fn pauses_of_different_commits_are_spread_evenly() {
        let policy = RetryPolicy::default();
        let mut quarters = [0; 4];
        for commit in commits(4_000) {
            let part = policy.delay(8, commit).as_secs_f64() / 0.1;
            quarters[(part * 4.0) as usize] += 1;
        }
        for count in quarters {
            assert!((900..1_100).contains(&count), "{quarters:?}");
        }
    }

    #[test]
    fn the_same_commit_and_attempt_pause_the_same_time() {
        let policy = RetryPolicy::default();
        let commit = commits(1)[0];
        assert_eq!(policy.delay(5, commit), policy.delay(5, commit));
        assert_ne!(policy.delay(5, commit), policy.delay(6, commit));
    }

    #[test]
    fn never_allows_one_attempt_without_a_pause() {
        let policy = RetryPolicy::never();
        assert!(!policy.allows_another(1));
        assert_eq!(policy.delay(1, commits(1)[0]), Duration::ZERO);
    }
}
