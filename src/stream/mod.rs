//! Streams of the results of a group's children, as they come.
//!
//! [`Group::results`](crate::Group::results) makes one. Each is `Send` when its parts are, may
//! stand in any combinator, and is fused: after its end it gives `None`.

mod fed;
mod outlet;
mod results;

pub use self::fed::FedResults;
pub(crate) use self::outlet::Outlet;
pub use self::results::Results;
