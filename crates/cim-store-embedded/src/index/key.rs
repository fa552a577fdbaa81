//! The keys of the index: 128 bits, evenly spread.

use std::hash::{BuildHasherDefault, Hasher};

use sha2::{Digest, Sha256};

/// The first 128 bits of SHA-256 over what the entry stands for. Nobody can make two texts with
/// the same key; and every entry leads to a record that is compared with what was looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct IndexKey(pub(crate) u128);

impl IndexKey {
    pub(crate) const MIN: Self = Self(0);
    pub(crate) const MAX: Self = Self(u128::MAX);

    fn of(kind: u8, parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        hash.update([kind]);
        for part in parts {
            hash.update(part);
        }
        let digest: [u8; 32] = hash.finalize().into();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        Self(u128::from_be_bytes(bytes))
    }

    /// The head of a stream.
    pub(crate) fn stream(name: &str) -> Self {
        Self::of(1, &[name.as_bytes()])
    }

    /// The first record of a commit.
    pub(crate) fn commit(id: &[u8; 16]) -> Self {
        Self::of(2, &[id])
    }

    /// The event of a stream at a version that is a multiple of [`STEP`].
    pub(crate) fn step(name: &str, version: u64) -> Self {
        Self::of(3, &[&version.to_be_bytes(), name.as_bytes()])
    }

    /// The last change of a bucket's key.
    pub(crate) fn entry(bucket: u32, key: &str) -> Self {
        Self::of(4, &[&bucket.to_be_bytes(), key.as_bytes()])
    }
}

/// Every so many versions of a stream have an entry of their own, so that a read that begins far
/// from the head finds a place near by.
pub(crate) const STEP: u64 = 64;

/// Keys are evenly spread already, so half of one is its hash.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, key: u128) {
        self.0 = key as u64;
    }
}

pub(crate) type KeyMap<V> = std::collections::HashMap<IndexKey, V, BuildHasherDefault<KeyHasher>>;
