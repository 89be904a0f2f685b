//! Streams of the results of a group's children, as they come.
//!
//! [`Group::results`](crate::Group::results) makes one. Each of them is `Send` if its parts are,
//! and works in any combinator. It is fused: after its end, it gives `None`.

mod buffer;
mod results;

pub(crate) use self::buffer::ResultBuffer;
pub use self::results::{NoFeed, Results};
