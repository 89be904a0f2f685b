//! The futures that this crate's methods return, for code that has to name them.
//!
//! Each of them is `Send` if its parts are, and works in any combinator. Polled after completion,
//! it stays pending.

mod closed;
mod driver;
mod feed;
mod for_each;
mod go;
mod hedge;
mod inputs;
mod map;
mod map_source;
mod producer;
mod ready;
mod reserve;
mod scope;
mod value;
mod watchdog;

pub use self::closed::Closed;
pub(crate) use self::driver::{Driver, Side};
pub use self::feed::Feed;
pub(crate) use self::feed::Source;
pub use self::for_each::{ForEach, ForEachStream, for_each, for_each_stream};
pub use self::go::Go;
pub use self::hedge::{Hedge, hedge};
pub use self::map::{Map, MapStream, map, map_stream};
pub use self::ready::Ready;
pub use self::reserve::Reserve;
pub use self::scope::{Scope, TryScope};
pub use self::value::{Value, value};
pub use self::watchdog::{Watchdog, watchdog};

use crate::set::budget::POLLS;
pub use crate::token::{Cancelled, Run};

/// How often the user's code is asked for a future in one poll, however ready all of them are.
pub(crate) const ASKS: usize = POLLS as usize;
