//! What must hold in a world.
//!
//! When a child is first polled, there is room for it, and it overtakes no other: `start`. When no
//! task is woken, there is a reason for each group that does not go on: `standstill`, and for each
//! child that waits: `admission`. When all is dropped, nothing is left: `end`.
//!
//! A check knows what the documentation promises, and follows it where it leaves something open.
//! Each such relaxation has a comment.

mod admission;
mod end;
mod standstill;
mod start;
