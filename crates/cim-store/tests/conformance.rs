//! The memory adapter keeps the whole contract: every case of the published suite.

use std::sync::Arc;

use cim_conformance::{Harness, HarnessError, Setup};
use cim_store::{Store, memory::MemoryStore};

/// Each place is a store of its own.
struct MemoryHarness;

#[cim_conformance::async_trait]
impl Harness for MemoryHarness {
    type Place = ();

    async fn place(&self) -> Result<(), HarnessError> {
        Ok(())
    }

    async fn open(&self, _: &(), setup: Setup) -> Result<Arc<dyn Store>, HarnessError> {
        Ok(Arc::new(MemoryStore::with(setup.clock, setup.ids)))
    }

    fn persistent(&self) -> bool {
        false
    }
}

cim_conformance::store_tests!(memory, MemoryHarness);
