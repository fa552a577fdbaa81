//! What most users of the inventory need.

pub use crate::command::{ComputeCommand, ComputeError};
pub use crate::event::{ComputeEvent, ResourceKind};
pub use crate::hardware::HardwareDetails;
pub use crate::host_name::HostName;
pub use crate::host_name_claim::{HostNameClaim, HostNameCommand, HostNameEvent, HostNameTaken};
pub use crate::ids::{AccountConceptId, LocationId, OrganizationId, OwnerId, PolicyId, ResourceId};
pub use crate::labels::{AssetTag, LabelName, LabelValue};
pub use crate::resource::ComputeResource;
pub use crate::service::{Changed, Inventory, InventoryError};
pub use crate::status::{Status, Transition, TransitionRefused};
