//! The store that a URL names, and what to do when it can't be opened.

use std::sync::Arc;

use async_trait::async_trait;
use cim_domain::{OpenError, OpenOptions};
use cim_store::Store;

use crate::error::Failure;
use crate::exit_code::ExitCode;
use crate::session::{OpenStore, StoreAddress, StoreMode};

/// Chooses the adapter by the URL's scheme.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OpenByUrl;

#[async_trait]
impl OpenStore for OpenByUrl {
    async fn open(
        &self,
        address: &StoreAddress,
        mode: StoreMode,
    ) -> Result<Arc<dyn Store>, Failure> {
        let options = OpenOptions {
            must_exist: mode == StoreMode::MustExist,
            nats: address.nats.clone(),
            ..OpenOptions::default()
        };
        let opened = match mode {
            StoreMode::Create | StoreMode::MustExist => {
                cim_domain::open_with(&address.url, options).await
            }
            StoreMode::Inspect => cim_domain::inspect_with(&address.url, options).await,
        };
        opened.map_err(failure)
    }
}

fn failure(error: OpenError) -> Failure {
    let name_it = "name a store with `--store` or CIM_STORE, such as `embedded:./cim-data`";
    let (code, hint) = match &error {
        OpenError::NotFound { .. } => (
            ExitCode::NotFound,
            Some(
                "reading never creates a store; `cim append`, `cim import` and `cim demo` do, or \
                 name another one with `--store` or CIM_STORE"
                    .to_owned(),
            ),
        ),
        OpenError::Store { source, .. } => (ExitCode::of(source), source.hint().map(str::to_owned)),
        OpenError::NotAnOption { option, .. } => {
            let option = option.replace('_', "-");
            let variable = option.replace('-', "_").to_uppercase();
            let hint = format!(
                "leave out `--{option}` (or CIM_NATS_{variable}), or name a store on NATS with \
                 `--store nats://host:4222`"
            );
            (ExitCode::Invalid, Some(hint))
        }
        OpenError::NoScheme { .. }
        | OpenError::UnknownScheme { .. }
        | OpenError::NotBuilt { .. }
        | OpenError::Malformed { .. } => (ExitCode::Invalid, Some(name_it.to_owned())),
        _ => (ExitCode::Failure, None),
    };
    let failure = Failure::new(code, error);
    match hint {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}
