//! What upcasts are given and give back.

use serde_json::Value;

/// An event as it was stored once, or could have been: what a split is given, and what it gives.
///
/// ```
/// use cim_domain::UpcastError;
/// use cim_domain::event::PastEvent;
/// use serde_json::json;
///
/// /// One event told of an order and its payment. They are two events today.
/// fn placed_and_paid(old: PastEvent) -> Result<Vec<PastEvent>, UpcastError> {
///     let payload = old.payload;
///     Ok(vec![
///         PastEvent::new("order_placed", 1, json!({ "customer": payload["customer"] })),
///         PastEvent::new("order_paid", 1, json!({ "cents": payload["cents"] })),
///     ])
/// }
/// # let old = PastEvent::new("order_placed_and_paid", 1, json!({ "customer": "anna", "cents": 5 }));
/// # assert_eq!(placed_and_paid(old).unwrap()[1].payload, json!({ "cents": 5 }));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct PastEvent {
    /// Its event type.
    pub event_type: &'static str,
    /// The schema version that its payload has. It is lifted on from there.
    pub schema_version: u32,
    /// Its fields.
    pub payload: Value,
}

impl PastEvent {
    /// An event of this type, in the shape of this schema version.
    pub fn new(event_type: &'static str, schema_version: u32, payload: Value) -> Self {
        Self {
            event_type,
            schema_version,
            payload,
        }
    }
}
