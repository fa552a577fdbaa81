//! The shapes of everything that is stored are those in `cim-schemas.lock`.

use cim_demo_inventory::host_name_claim::HostNameClaim;
use cim_demo_inventory::resource::ComputeResource;
use cim_domain::testing::SchemaLock;

#[test]
fn persisted_shapes_are_locked() {
    SchemaLock::at("cim-schemas.lock")
        .aggregate::<ComputeResource>()
        .snapshot::<ComputeResource>()
        .aggregate::<HostNameClaim>()
        .check();
}
