//! The futures that this crate's methods return, for those who must name them.
//!
//! Each is `Send` when its parts are, may stand in any combinator, and is fused in effect:
//! polled after completion it stays pending.

mod closed;
mod drive;
mod feed;
mod go;
mod scope;

pub use self::closed::Closed;
pub(crate) use self::drive::Drive;
pub use self::feed::Feed;
pub use self::go::Go;
pub use self::scope::{Scope, TryScope};
pub use crate::free::{ForEach, Hedge, Map};
pub use crate::token::{Cancelled, Run};
