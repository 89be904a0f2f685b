//! Who may run: the limit, the line, and the numbers.
//!
//! A group keeps its [`State`](state::State) to itself, without a lock, as long as nobody needs more of it than
//! a number and a queue. It is [`Shared`] from its first handle on; and so it is with an
//! observer or a semaphore, and from the first child that wants more than plain room.
//!
//! # Invariants
//!
//! - Everybody gets a number as he comes. Those who have no room stand in the `line`: higher
//!   priority first, then by their numbers. Those who have room go through the `inbox` to the
//!   `outbox` and so to the set, in the order in which they got it.
//! - The line is *settled* whenever nobody is changing the state: it is empty, or its first
//!   does not fit or lacks a permit. A newcomer gets room past the line only where all in it are
//!   of a lower priority.
//! - A waiter whose turn comes is *granted* room: he moves to the inbox, where his slot is
//!   awaited until he brings his child, or leaves. Children leave the inbox from the front, up
//!   to the first slot that is awaited; so children start in the order in which they (or those
//!   who brought them) got room. The index is given then, and has no gaps.
//! - `count = running + granted`, where `granted` counts the slots that are awaited; `heavy` is
//!   what these take beyond one each. Of the children that count as `running`, those in the inbox
//!   and the outbox are not yet with the group's set.
//! - With a semaphore, each of `count` has a permit.
//! - Where every running child but the daemons waits in the line, and nobody is awaited,
//!   one waiter has been told to put its child into the queue.
//! - Once `closed` is set, nothing is admitted and the line stays empty: the group has
//!   resolved or is gone.
//! - A cancelled token admits nothing either. What still is in the line then is dropped, and
//!   what is awaited is taken back, by the group's next poll, or by its drop.
//! - A group that keeps its state to itself has plain children only, and queued ones in its line.
//!   Its own `go` or `feed` that waits holds the group, so all of these came before it, and it
//!   needs no place of its own.

mod acquire;
mod come;
mod desk;
mod end;
mod grants;
mod line;
mod log;
mod make;
mod nested;
mod own;
mod permits;
mod place;
mod report;
mod roll;
mod settle;
mod shared;
mod state;
mod stop;

pub(crate) use self::come::Answer;
pub(crate) use self::desk::{Desk, Room};
pub(crate) use self::end::{ClosedEvent, ClosedWaiter};
pub(crate) use self::line::Place;
pub(crate) use self::own::{Admission, Whose};
pub(crate) use self::place::{Reservation, Stand};
pub(crate) use self::shared::{Shared, Who};
