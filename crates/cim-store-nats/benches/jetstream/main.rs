//! The benchmark of the NATS adapter.
fn main() {}
