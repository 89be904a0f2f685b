//! Who may run: the limit, the line, and the numbers.
//!
//! A group keeps its [`State`] to itself, without a lock, until its first handle is made;
//! from then on it is [`Shared`] among them.
//!
//! # Invariants
//!
//! - Everybody has a *place*, by the order of coming. Those who have no room stand in the
//!   `line`, those who have in the `inbox`, each in the order of their places, and whoever is
//!   in the inbox came before all who stand in the line.
//! - The line is *settled* whenever nobody is changing the state: it is empty, or its first
//!   does not fit. A newcomer gets room past the line only where it is empty.
//! - A waiter whose turn comes is *granted* room: he moves to the inbox, where his slot is
//!   awaited until he brings his child, or leaves. Children go from the inbox to the set from
//!   the front, up to the first slot that is awaited; so children start in the order in which
//!   they (or those who brought them) came. The index is given then, and has no gaps.
//! - `used = running + granted`, where `granted` counts the slots that are awaited. Of the
//!   children that count as `running`, those in the inbox are not yet with the group's set.
//! - Where every running child waits in the line, the first in line does not fit, and nobody
//!   is awaited, one waiter has been told to put its child into the queue.
//! - Once `closed` is set, nothing is admitted and the line stays empty: the group has
//!   resolved or is gone.
//! - A cancelled token admits nothing either. What still is in the line then is dropped, and
//!   what is awaited is taken back, by the group's next poll, or by its drop.
//! - Without a handle nobody but the group stands in line, and a group's `go` or `feed` that
//!   waits holds the group: so the line has queued children only, all of whom came before it,
//!   and it needs no place of its own.

mod abroad;
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
