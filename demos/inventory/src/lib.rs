//! An inventory of compute resources, written as an application on [`cim_domain`] is.
//!
//! It is the domain that `cim demo inventory` runs, and meant to be read: everything that an
//! application of this kind needs is here once.
//!
//! | file | what is in it |
//! |---|---|
//! | [`resource`] | the aggregate: what it decides, and from what |
//! | [`event`] | its twelve events, one of them in its second version |
//! | [`command`] | what can be asked of it, and why it refuses |
//! | [`status`] | the states of a resource, and the ways between them |
//! | [`host_name`], [`labels`], [`ids`], [`hardware`] | values that can't be wrong |
//! | [`host_name_claim`] | a second aggregate: who has a host name |
//! | [`service`] | what the rest of an application calls |
//! | [`reaction`] | commands that follow from events by themselves |
//!
//! Streams are `infrastructure.compute.{id}`, so that the subjects of events are
//! `cim.events.infrastructure.compute.{id}.{event}.{version}`.
//!
//! ```
//! use cim_demo_inventory::prelude::*;
//! use cim_domain::prelude::*;
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let store = open("memory:").await?;
//!     let (inventory, ctx) = (Inventory::new(store.log()), Context::new());
//!
//!     let web: HostName = "web-1.example.org".parse()?;
//!     let id = inventory.register(&ctx, web, ResourceKind::VirtualMachine).await?;
//!     let tag = AssetTag::new("A-0001")?;
//!     inventory.execute(&ctx, id, ComputeCommand::AssignAssetTag { tag }).await?;
//!
//!     let resource = inventory.resources().load(&ctx, &id).await?.state;
//!     assert_eq!(resource.status(), Some(Status::Provisioning));
//!     Ok(())
//! }
//! ```

pub mod command;
pub mod event;
pub mod hardware;
pub mod host_name;
pub mod host_name_claim;
pub mod ids;
pub mod labels;
pub mod prelude;
pub mod reaction;
pub mod resource;
pub mod service;
pub mod status;
