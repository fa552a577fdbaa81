//! Which stream a record belongs to, by the place of the record that it links to.
//!
//! Places are those that records say, and not where they stand: so links lead also where records
//! were moved.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use cim_store::StreamId;

use crate::journal::record::Place;

/// The streams that were seen, each with the place of its last record.
#[derive(Debug, Default)]
pub(crate) struct KnownStreams {
    streams: Vec<(StreamId, Place)>,
    /// The index of the stream whose last record is at a place.
    links: HashMap<u64, u32, BuildHasherDefault<PlaceHasher>>,
    /// The index of a stream, by its name. Only asked where a link leads to nowhere.
    names: HashMap<StreamId, u32>,
}

impl KnownStreams {
    /// The stream whose last record is at `previous`; from now on it is at `place`.
    #[inline]
    pub(crate) fn follow(&mut self, previous: Place, place: Place) -> Option<StreamId> {
        if previous == Place::NONE {
            return None;
        }
        let index = self.links.remove(&previous.bits())?;
        let (stream, last) = self.streams.get_mut(index as usize)?;
        *last = place;
        self.links.insert(place.bits(), index);
        Some(stream.clone())
    }

    /// The stream whose last record is at a place.
    pub(crate) fn at(&self, place: Place) -> Option<StreamId> {
        if place == Place::NONE {
            return None;
        }
        let index = self.links.get(&place.bits())?;
        let (stream, _) = self.streams.get(*index as usize)?;
        Some(stream.clone())
    }

    /// As [`enter`](Self::enter), unless a later record of the stream is known. With no place, only
    /// the stream's name is.
    pub(crate) fn enter_later(&mut self, stream: &StreamId, place: Place) {
        let index = self.names.get(stream);
        let last = index.and_then(|index| self.streams.get(*index as usize));
        if last.is_none_or(|(_, last)| *last < place) {
            self.enter(stream, place);
        }
    }

    /// All of them.
    pub(crate) fn streams(&self) -> impl Iterator<Item = &StreamId> {
        self.streams.iter().map(|(stream, _)| stream)
    }

    /// The last record of a stream is at `place`.
    pub(crate) fn enter(&mut self, stream: &StreamId, place: Place) {
        let index = match self.names.get(stream) {
            Some(index) => {
                if let Some((_, last)) = self.streams.get_mut(*index as usize) {
                    self.links.remove(&last.bits());
                    *last = place;
                }
                *index
            }
            None => {
                let index = self.streams.len() as u32;
                self.streams.push((stream.clone(), place));
                self.names.insert(stream.clone(), index);
                index
            }
        };
        self.links.insert(place.bits(), index);
    }
}

/// Spreads places, which are multiples of eight.
#[derive(Clone, Copy, Debug, Default)]
struct PlaceHasher(u64);

impl Hasher for PlaceHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(self.0.rotate_left(8) ^ u64::from(*byte));
        }
    }

    fn write_u64(&mut self, place: u64) {
        // Multiplicative hashing by the golden ratio (Knuth, The Art of Computer Programming,
        // volume 3, section 6.4); the upper half is the better spread one.
        let product = place.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = product ^ product >> 32;
    }
}
