//! Run a bounded set of fallible futures together, on any executor.
#![forbid(unsafe_code)]
#![cfg_attr(not(feature = "std"), no_std)]
#![cfg_attr(docsrs, feature(doc_cfg))]

extern crate alloc;

mod admission;
mod bell;
mod context;
mod error;
pub mod future;
mod group;
mod handle;
mod kind;
mod lock;
mod panic;
mod policy;
mod reason;
mod run;
mod set;
mod slab;
mod stats;
mod token;

pub use error::{Stopped, TryGoError};
pub use group::Group;
pub use handle::Handle;
pub use kind::{Boxed, Child, Children, Kind, LocalBoxed, Plain};
pub use policy::{FirstErr, Policy, Verdict};
pub use reason::{CancelError, Reason};
pub use stats::Stats;
pub use token::{CancelToken, DropGuard};
