//! Who may run: the limit, the line, and the numbers.
//!
//! A group keeps its [`State`] to itself, without a lock, until its first handle is made;
//! from then on it is [`Shared`] among them.
//!
//! # Invariants
//!
//! - `used = running + reserved`. Of the children that count as `running`, those in `inbox`
//!   are admitted and not yet with the group's set; the others are in the set.
//! - The line is *settled* whenever nobody is changing the state: its first entry does not
//!   fit, or is a waiter that was told so, or a feed has taken room for the child that it
//!   asks for now. A newcomer is admitted past the line only where it is empty, and a waiter
//!   only where it is first; so admission is in order.
//! - Where every running child waits in the line, and the first in line does not fit, one
//!   waiter has been told to put its child into the queue.
//! - Once `closed` is set, nothing is admitted and the line stays empty: the group has
//!   resolved or is gone.
//! - A cancelled token admits nothing either. What still is in the line then is dropped by
//!   the group's next poll, or by its drop.
//! - Without a handle nobody but the group stands in line, and a group's `go` or `feed` that
//!   waits holds the group: so the line has queued children only, all of whom came before it,
//!   and it needs no place of its own.

mod end;
mod line;
mod nested;
mod own;
mod place;
mod roll;
mod row;
mod shared;
mod state;

pub(crate) use self::end::{End, EndWaiter};
pub(crate) use self::own::{Admission, Desk, Room};
pub(crate) use self::place::{Reservation, Stand};
pub(crate) use self::row::Place;
pub(crate) use self::shared::{Answer, Shared, Who};

/// How a child has ended.
#[derive(Clone, Copy)]
pub(crate) enum Ended {
    Ok,
    Failed,
    Dropped,
}
