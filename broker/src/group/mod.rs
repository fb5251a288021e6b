//! Consumer groups.

mod core;
