//! Panics as values: an aggregate that panics is a finding, which is shown once and not for each try.
//!
//! The hook that prints panics belongs to the whole process. It is wrapped once, and the wrapper
//! keeps quiet only for the thread that asks an aggregate, only for as long as it does.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    /// While an aggregate is asked: what its panic said.
    static CAUGHT: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// What the closure gives, or what its panic says and where it arose.
///
/// What it leaves half-done is never looked at again: a panic ends the run.
pub(super) fn caught<T>(ask: impl FnOnce() -> T) -> Result<T, String> {
    wrap_hook();
    CAUGHT.set(Some(String::new()));
    let outcome = catch_unwind(AssertUnwindSafe(ask));
    let said = CAUGHT.take();
    outcome.map_err(|_| said.unwrap_or_default())
}

fn wrap_hook() {
    static WRAPPED: Once = Once::new();
    WRAPPED.call_once(|| {
        let others = take_hook();
        set_hook(Box::new(move |panic| {
            let is_ours = CAUGHT.try_with(|caught| {
                let Ok(mut caught) = caught.try_borrow_mut() else {
                    return false;
                };
                let said = caught.as_mut().map(|said| *said = panic.to_string());
                said.is_some()
            });
            if is_ours != Ok(true) {
                others(panic);
            }
        }));
    });
}
