//! The free functions, each of which runs a group of its own from its first child to its end.
//!
//! Nobody holds a token or a handle of such a group, so nobody could tell its children to come
//! to an end. Where one of them decides, by its result or its panic, the others are dropped where
//! they stand; waiting for them could take for ever. That is all that differs from other groups:
//! the group [leaves at a stop](Group::leaves_at_stop), and is then
//! [finished as it is](Group::finish_now).

mod each;
mod for_each;
mod hedge;
mod map;

use core::task::Poll;

pub use self::for_each::{ForEach, for_each};
pub use self::hedge::{Hedge, hedge};
pub use self::map::{Map, map};
use crate::panic::{First, catch, discard, resume};
use crate::{Group, Kind};

/// How often the user's code is asked for a future in one poll, however ready all of them are.
const ASKS: usize = 4096;

impl<C: Kind, P, O> Group<C, P, O> {
    /// Ends the group, whoever still runs: makes its output of what the policy has heard by now,
    /// drops the children, then calls `leave`, which drops what stood beside them. The first panic
    /// of it all, or the one that the group keeps, goes on when nobody is left.
    fn finish_now(&mut self, leave: impl FnOnce(&mut First)) -> Poll<O> {
        let finish = self.finish;
        let mut panic = core::mem::take(&mut self.panic);
        let policy = self.policy.as_mut().filter(|_| !panic.is_some());
        let output = policy.and_then(|policy| panic.guard(|| finish(policy)));
        if let Some(payload) = self.shut().take() {
            panic.keep(payload);
        }
        leave(&mut panic);
        match panic.take() {
            None => output.map_or(Poll::Pending, Poll::Ready),
            Some(payload) => {
                // Before the unwinding, in which a panic of its destructor would abort.
                let _ = catch(|| drop(output)).map_err(discard);
                resume(payload)
            }
        }
    }
}
