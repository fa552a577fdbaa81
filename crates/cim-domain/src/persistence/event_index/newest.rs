//! The newest entries, in memory until there are enough of them to be written.

use std::sync::Arc;

use super::entry::{Entry, Span, Table, entries_of};
use super::run::Smallest;

/// So many entries of a table may be unsorted.
const UNSORTED: usize = 1_024;

/// Entries by table.
#[derive(Clone, Debug, Default)]
pub(super) struct Batch {
    tables: [Vec<Entry>; Table::ALL.len()],
}

impl Batch {
    pub(super) fn add(&mut self, event: &cim_store::RecordedEvent) {
        let [correlations, times, tags] = &mut self.tables;
        entries_of(event, |entry| match entry.table {
            Table::Correlation => correlations.push(entry),
            Table::Time => times.push(entry),
            Table::Tag => tags.push(entry),
        });
    }

    pub(super) fn len(&self) -> usize {
        self.tables.iter().map(Vec::len).sum()
    }
}

/// Sorted entries by table, which is their order altogether.
pub(super) type SortedTables = [Arc<Vec<Entry>>; Table::ALL.len()];

/// The entries that are in no run yet.
#[derive(Debug, Default)]
pub(super) struct Newest {
    sorted: SortedTables,
    /// A few more of each table.
    unsorted: [Vec<Entry>; Table::ALL.len()],
}

impl Newest {
    pub(super) fn len(&self) -> usize {
        let sorted: usize = self.sorted.iter().map(|table| table.len()).sum();
        let unsorted: usize = self.unsorted.iter().map(Vec::len).sum();
        sorted + unsorted
    }

    pub(super) fn absorb(&mut self, batch: Batch) {
        for (table, more) in batch.tables.into_iter().enumerate() {
            let (Some(unsorted), Some(sorted)) =
                (self.unsorted.get_mut(table), self.sorted.get_mut(table))
            else {
                continue;
            };
            if unsorted.is_empty() {
                *unsorted = more;
            } else {
                unsorted.extend(more);
            }
            if unsorted.len() > UNSORTED {
                fold(sorted, unsorted);
            }
        }
    }

    /// All entries, sorted.
    pub(super) fn sorted(&mut self) -> SortedTables {
        for (sorted, unsorted) in self.sorted.iter_mut().zip(&mut self.unsorted) {
            fold(sorted, unsorted);
        }
        self.sorted.clone()
    }

    /// Gives up entries of positions up to this one.
    pub(super) fn forget_through(&mut self, position: u64) {
        let is_kept = |entry: &Entry| entry.position > position;
        for sorted in &mut self.sorted {
            if !sorted.iter().all(is_kept) {
                *sorted = Arc::new(sorted.iter().copied().filter(is_kept).collect());
            }
        }
        for unsorted in &mut self.unsorted {
            unsorted.retain(is_kept);
        }
    }

    /// The smallest positions that are meant, at most `limit`, in order.
    pub(super) fn positions(&self, span: &Span, limit: usize) -> Vec<u64> {
        let mut found = Smallest::new(limit);
        let (first, last) = (span.first(), span.last());
        let table = Table::ALL.iter().position(|table| *table == span.table);
        let table = table.unwrap_or_default();
        if let Some(sorted) = self.sorted.get(table) {
            let from = sorted.partition_point(|entry| *entry < first);
            let meant = sorted.iter().skip(from).take_while(|entry| **entry <= last);
            for entry in meant {
                if span.is_one_key() && found.is_full() {
                    break;
                }
                if span.holds(entry.position) {
                    found.push(entry.position);
                }
            }
        }
        for entry in self.unsorted.get(table).into_iter().flatten() {
            if (first..=last).contains(entry) && span.holds(entry.position) {
                found.push(entry.position);
            }
        }
        found.into_sorted()
    }
}

fn fold(sorted: &mut Arc<Vec<Entry>>, unsorted: &mut Vec<Entry>) {
    if unsorted.is_empty() {
        return;
    }
    let mut more = std::mem::take(unsorted);
    more.sort(); // finds what is sorted already, as times mostly are
    if sorted.is_empty() {
        *sorted = Arc::new(more);
        return;
    }
    let mut both = Vec::with_capacity(sorted.len() + more.len());
    let mut more = more.into_iter().peekable();
    for entry in sorted.iter() {
        while let Some(earlier) = more.next_if(|other| other < entry) {
            both.push(earlier);
        }
        both.push(*entry);
    }
    both.extend(more);
    *sorted = Arc::new(both);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn entries() -> impl Strategy<Value = Vec<Entry>> {
        let entry = (1..=3_u8, 0..5_u64, 1..60_u64).prop_map(|(table, key, position)| Entry {
            table: Table::from_byte(table).unwrap(),
            key: [key, 0],
            position,
        });
        prop::collection::vec(entry, 0..3_000)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn it_finds_what_a_sorted_set_of_all_entries_has(
            batches in prop::collection::vec(entries(), 1..4),
            (table, low, high) in (1..=3_u8, 0..5_u64, 0..5_u64),
            (after, through, limit) in (0..60_u64, 0..60_u64, 1..100_usize),
            forgotten in 0..60_u64,
        ) {
            let mut newest = Newest::default();
            let mut all = BTreeSet::new();
            for entries in batches {
                let mut batch = Batch::default();
                for entry in entries {
                    if all.insert(entry) {
                        batch.tables[entry.table as usize - 1].push(entry);
                    }
                }
                newest.absorb(batch);
            }
            newest.forget_through(forgotten);
            all.retain(|entry| entry.position > forgotten);
            prop_assert_eq!(newest.len(), all.len());
            let table = Table::from_byte(table).unwrap();
            let (low, high) = ([low.min(high), 0], [low.max(high), 0]);
            let span = Span { table, low, high, after, through };
            let expected = all.iter().filter(|entry| {
                entry.table == table && (low..=high).contains(&entry.key)
                    && entry.position > after && entry.position <= through
            });
            let mut expected: Vec<u64> = expected.map(|entry| entry.position).collect();
            expected.sort_unstable();
            expected.truncate(limit);
            prop_assert_eq!(newest.positions(&span, limit), expected);
            prop_assert!(newest.sorted().iter().flat_map(|table| table.iter()).eq(&all));
        }
    }
}
