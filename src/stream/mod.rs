//! Streams of the results of a group's children, as they come.
//!
//! [`Group::results`](crate::Group::results) makes one. Each is `Send` when its parts are, may
//! stand in any combinator, and is fused: after its end it gives `None`.

mod buffer;
mod results;

pub(crate) use self::buffer::ResultBuffer;
pub use self::results::NoFeed;
pub use self::results::Results;
