//! Entries: from what an event is found by to its position.

use cim_store::{CorrelationId, Position, RecordedEvent, TimeBasis, TimeRange, Timestamp};
use sha2::{Digest as _, Sha256};

use crate::persistence::Tags;

/// What events are found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Table {
    /// Their correlation id.
    Correlation = 1,
    /// The time at which they happened.
    Time = 2,
    /// A tag.
    Tag = 3,
}

impl Table {
    pub(super) const ALL: [Self; 3] = [Self::Correlation, Self::Time, Self::Tag];

    pub(super) const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Correlation),
            2 => Some(Self::Time),
            3 => Some(Self::Tag),
            _ => None,
        }
    }
}

/// An entry's table and key as bytes, whose order is the order of entries.
pub(super) const KEY_BYTES: usize = 17;

/// A key of a table leads to a position. Two numbers are the key's 16 bytes, big-endian, because
/// they compare quicker than bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub(super) table: Table,
    pub(super) key: [u64; 2],
    pub(super) position: u64,
}

impl Entry {
    pub(super) fn key_bytes(&self) -> [u8; KEY_BYTES] {
        let mut bytes = [0; KEY_BYTES];
        let (table, key) = bytes.split_at_mut(1);
        table.copy_from_slice(&[self.table as u8]);
        let (upper, lower) = key.split_at_mut(8);
        upper.copy_from_slice(&self.key[0].to_be_bytes());
        lower.copy_from_slice(&self.key[1].to_be_bytes());
        bytes
    }

    /// The entry with these bytes; `None` where they name no table.
    pub(super) fn from_key_bytes(bytes: &[u8; KEY_BYTES], position: u64) -> Option<Self> {
        let (table, key) = bytes.split_first()?;
        Some(Self {
            table: Table::from_byte(*table)?,
            key: halves(key.try_into().ok()?),
            position,
        })
    }
}

fn halves(key: [u8; 16]) -> [u64; 2] {
    let number = u128::from_be_bytes(key);
    [(number >> 64) as u64, number as u64]
}

fn of_correlation(id: &CorrelationId) -> [u64; 2] {
    halves(*id.as_bytes())
}

/// Moves times so that those before 1970 sort before those after it.
fn of_time(time: Timestamp) -> [u64; 2] {
    [(time.as_micros() as u64) ^ (1 << 63), 0]
}

fn of_tag(tag: &str) -> [u64; 2] {
    let digest: [u8; 32] = Sha256::digest(tag.as_bytes()).into();
    let [first, ..] = digest.as_chunks::<16>().0 else {
        return [0; 2]; // a digest has two halves
    };
    halves(*first)
}

/// Hands out the entries of an event.
pub(super) fn entries_of(event: &RecordedEvent, mut push: impl FnMut(Entry)) {
    let position = event.position.get();
    let entry = |table, key| Entry {
        table,
        key,
        position,
    };
    if let Some(id) = &event.correlation_id {
        push(entry(Table::Correlation, of_correlation(id)));
    }
    push(entry(Table::Time, of_time(event.time)));
    if !event.metadata.is_empty() {
        for tag in Tags::of(event).iter() {
            push(entry(Table::Tag, of_tag(tag)));
        }
    }
}

/// What is looked for in the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sought {
    Correlation(CorrelationId),
    Tag(String),
    /// From one time, inclusive, to another, exclusive.
    Time(TimeRange),
}

impl Sought {
    /// Whether the event is one of those.
    pub(super) fn is(&self, event: &RecordedEvent) -> bool {
        match self {
            Self::Correlation(id) => event.correlation_id.as_ref() == Some(id),
            Self::Tag(tag) => Tags::of(event).contains(tag),
            Self::Time(range) => match range.basis {
                TimeBasis::Time => range.contains(event.time),
                TimeBasis::StoredAt => range.contains(event.stored_at),
            },
        }
    }

    /// The entries at positions after one and up to another; `None` where there can't be any.
    pub(super) fn span(&self, after: Position, through: Position) -> Option<Span> {
        let (table, low, high) = match self {
            Self::Correlation(id) => {
                let key = of_correlation(id);
                (Table::Correlation, key, key)
            }
            Self::Tag(tag) => {
                let key = of_tag(tag);
                (Table::Tag, key, key)
            }
            Self::Time(TimeRange { from, to, .. }) => {
                let low = from.map_or([0; 2], of_time);
                let high = match to {
                    None => [u64::MAX; 2],
                    Some(to) => [of_time(*to)[0].checked_sub(1)?, u64::MAX],
                };
                (Table::Time, low, high)
            }
        };
        let span = Span {
            table,
            low,
            high,
            after: after.get(),
            through: through.get(),
        };
        (span.low <= span.high && span.after < span.through).then_some(span)
    }
}

/// A stretch of entries: keys from one to another, both inclusive, and of these the positions after
/// one and up to another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) table: Table,
    pub(super) low: [u64; 2],
    pub(super) high: [u64; 2],
    pub(super) after: u64,
    pub(super) through: u64,
}

impl Span {
    /// The first entry that may be meant.
    pub(super) fn first(&self) -> Entry {
        Entry {
            table: self.table,
            key: self.low,
            position: if self.is_one_key() { self.after + 1 } else { 0 },
        }
    }

    /// The last entry that may be meant.
    pub(super) fn last(&self) -> Entry {
        Entry {
            table: self.table,
            key: self.high,
            position: if self.is_one_key() {
                self.through
            } else {
                u64::MAX
            },
        }
    }

    /// Whether positions come sorted.
    pub(super) fn is_one_key(&self) -> bool {
        self.low == self.high
    }

    /// Whether a position is meant.
    pub(super) fn holds(&self, position: u64) -> bool {
        self.after < position && position <= self.through
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bytes_sort_as_entries_do(
            entries in prop::collection::vec((1..=3_u8, any::<[u64; 2]>(), any::<u64>()), 2)
        ) {
            let entries: Vec<Entry> = entries
                .into_iter()
                .map(|(table, key, position)| Entry {
                    table: Table::from_byte(table).unwrap(),
                    key,
                    position,
                })
                .collect();
            let bytes: Vec<_> = entries.iter().map(|e| (e.key_bytes(), e.position)).collect();
            prop_assert_eq!(entries[0].cmp(&entries[1]), bytes[0].cmp(&bytes[1]));
            let back = Entry::from_key_bytes(&bytes[0].0, bytes[0].1);
            prop_assert_eq!(back, Some(entries[0]));
        }

        #[test]
        fn times_sort_as_their_keys_do(one in any::<i64>(), other in any::<i64>()) {
            let key = |micros| of_time(Timestamp::from_micros(micros));
            prop_assert_eq!(one.cmp(&other), key(one).cmp(&key(other)));
        }
    }

    #[test]
    fn a_range_that_ends_at_its_start_or_at_the_first_of_times_means_nothing() {
        let range = |from: Option<i64>, to: Option<i64>| {
            Sought::Time(TimeRange {
                basis: TimeBasis::Time,
                from: from.map(Timestamp::from_micros),
                to: to.map(Timestamp::from_micros),
            })
            .span(Position::NONE, Position::MAX)
        };
        assert!(range(Some(5), Some(5)).is_none());
        assert!(range(Some(5), Some(4)).is_none());
        assert!(range(None, Some(i64::MIN)).is_none());
        assert!(range(Some(5), Some(6)).is_some());
        assert!(range(None, None).is_some());
    }
}
