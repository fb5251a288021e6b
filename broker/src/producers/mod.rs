//! Idempotent producers: a batch that is sent again is not stored again.
//!
//! ```text
//!   batch of producer 7, epoch 2, sequences [30, 40)        what the partition knows of producer 7
//!                      |                                     epoch 2
//!                      v                                     stored:      [0, 10) [10, 20)     the last five
//!   next in sequence?  --> append, on its way                on its way:  [20, 30)             all of them
//!   one of those?      --> answer as that one was or will be
//!   a gap?             --> refused
//! ```
//!
//! The owner task of a partition judges each batch once, by what is stored and what is on its way, so that a
//! producer need not wait for one batch before it sends the next. What is on its way is stored when its entry
//! completes, and forgotten when that fails: the state never counts what is not in the log.
//!
//! - `state` is all of that, pure: no log, no clock, no lock.
//! - `memory` is a partition's state with its lock, and the way to and from the disk: `snapshot` is the form of
//!   it, `replay` reads what the log has got since.
//! - `ids` gives out ids, and `identity` what a producer is called.
//!
//! What this is not: transactions.

mod describe;
mod identity;
mod ids;
mod memory;
mod replay;
mod snapshot;
mod state;

pub use describe::ProducerDescription;
pub use identity::ProducerIdentity;
pub(crate) use ids::ProducerIds;
pub(crate) use memory::Memory;
pub(crate) use state::{Admission, Completed, EntryId, Place, Rejection};
