//! Damage at random: whatever is handed out as sound is right, and nothing is lost in silence.
//! `CIM_SEED` repeats the choices, `CIM_DAMAGES` says how many there are.

use std::collections::BTreeMap;

use cim_conformance::model::Rng;
use cim_store::Position;
use cim_store_embedded::EmbeddedSettings;

use super::{closed, is_sound, report};
use crate::ledger;

#[tokio::test(flavor = "multi_thread")]
async fn no_event_is_lost_in_silence_and_no_other_one_is_made_up() {
    let seed = ledger::seed("examination");
    let mut rng = Rng::new(seed);
    let settings = EmbeddedSettings::default()
        .with_segment_bytes(4 << 10)
        .with_fresh_entries(40);
    let store = closed(80, &["a", "b", "c", "a", "a"], settings).await;
    let truth: BTreeMap<_, _> = store
        .events
        .iter()
        .map(|event| (event.position, event))
        .collect();
    // The position of the first event of each segment.
    let mut firsts = vec![1];
    for number in (1..).take_while(|number| store.segment(*number).exists()) {
        let count = store.records(number).len() as u64;
        firsts.push(firsts[number as usize - 1] + count);
    }
    let segments = firsts.len() as u64 - 1;
    for round in 0..ledger::setting("CIM_DAMAGES", 150) {
        let number = rng.below(segments) as u32 + 1;
        let kept = std::fs::read(store.segment(number)).unwrap();
        let mut bytes = kept.clone();
        let at = rng.below(bytes.len() as u64) as usize;
        let len = (rng.below(600) as usize).min(bytes.len() - at);
        // Records in this range are hit.
        let hit = match rng.below(7) {
            0 => {
                bytes[at] ^= 1 << rng.below(8);
                at..at + 1
            }
            1 => {
                bytes[at..at + len].fill(0);
                at..at + len
            }
            2 => {
                bytes[at..at + len].fill_with(|| rng.below(256) as u8);
                at..at + len
            }
            3 => {
                bytes.truncate(at);
                at..kept.len()
            }
            4 => {
                bytes.drain(at..at + len);
                // No record is looked for where the header was.
                at..(at + len).max(if at < 128 { 128 + len } else { 0 })
            }
            5 => {
                let other = rng.below((bytes.len() - len) as u64) as usize;
                let copy = bytes[other..other + len].to_vec();
                bytes.splice(at..at, copy);
                at..at + 1
            }
            _ => {
                let other = rng.below((bytes.len() - len) as u64) as usize;
                bytes.copy_within(other..other + len, at);
                at..at + len
            }
        };
        let label = format!("seed {seed}, round {round}: segment {number}, bytes {hit:?}");
        std::fs::write(store.segment(number), &bytes).unwrap();
        let found = report(store.path()).await;
        let mut there = BTreeMap::new();
        let mut said = found.damage.iter();
        let moved = said.any(|damage| damage.message.contains("were written for"));
        for event in &found.events {
            if !is_sound(event) {
                continue;
            }
            assert_eq!(Some(&event), truth.get(&event.position), "{label}");
            let again = there.insert(event.position, event);
            assert!(
                again.is_none() || moved,
                "{label}: {} twice",
                event.position
            );
        }
        if there.len() < truth.len() {
            let altered = found.events.len() - there.len();
            let told = altered + found.damage.len();
            assert!(told > 0, "{label}: lost in silence");
            // Each position that is not there is altered, or named, or in a run that is.
            for position in truth
                .keys()
                .filter(|position| !there.contains_key(position))
            {
                let altered = found.events.iter().any(|event| event.position == *position);
                let named = found.damage.iter().filter_map(|damage| damage.position);
                assert!(
                    altered || named.min().is_some_and(|first| first <= *position),
                    "{label}: {position} is not told: {:?}",
                    found.damage
                );
            }
        }
        // What was not hit is there.
        let records = super::records(&kept);
        for (index, record) in records.iter().enumerate() {
            if record.end <= hit.start || record.start >= hit.end {
                let position = Position::new(firsts[number as usize - 1] + index as u64);
                assert!(
                    there.contains_key(&position),
                    "{label}: {position} was not hit: {:?}",
                    found.damage
                );
            }
        }
        std::fs::write(store.segment(number), kept).unwrap();
    }
}
