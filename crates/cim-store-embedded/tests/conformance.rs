//! The embedded adapter keeps the whole contract: every case of the published suite, once as a
//! store is by default and once with files so small that every case goes through many of them.

use std::path::PathBuf;
use std::sync::Arc;

use cim_conformance::{Harness, HarnessError, Setup};
use cim_store::Store;
use cim_store_embedded::{EmbeddedSettings, EmbeddedStore};
use tempfile::TempDir;

struct EmbeddedHarness {
    settings: fn(EmbeddedSettings) -> EmbeddedSettings,
}

struct Place(TempDir);

impl Place {
    fn path(&self) -> PathBuf {
        self.0.path().join("store")
    }
}

#[cim_conformance::async_trait]
impl Harness for EmbeddedHarness {
    type Place = Place;

    async fn place(&self) -> Result<Place, HarnessError> {
        Ok(Place(tempfile::tempdir()?))
    }

    async fn open(&self, place: &Place, setup: Setup) -> Result<Arc<dyn Store>, HarnessError> {
        let settings = EmbeddedSettings::default()
            .with_clock(setup.clock)
            .with_ids(setup.ids);
        let store = EmbeddedStore::open(place.path(), (self.settings)(settings)).await?;
        Ok(Arc::new(store))
    }

    fn persistent(&self) -> bool {
        true
    }
}

cim_conformance::store_tests!(
    embedded,
    EmbeddedHarness {
        settings: |settings| settings
    }
);
cim_conformance::store_tests!(
    embedded_with_small_files,
    EmbeddedHarness {
        settings: |settings| settings.with_segment_bytes(8 << 10).with_fresh_entries(16)
    }
);
