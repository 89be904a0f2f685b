//! Room that a `reserve` has waited for.

use core::fmt;

use crate::admission::Ticket;
use crate::child::{Child, Kind};
use crate::error::{Stopped, TryGoError};

/// Room for one child, which [`Handle::reserve`](crate::Handle::reserve) has waited for.
///
/// The room counts against the group's limit while the slot lives, and keeps the group open. It
/// holds up no other child: the children that were admitted meanwhile run. A slot is not bound to
/// the task that has waited for it.
///
/// # Drop
///
/// Dropped without a child, it gives the room to the next in the queue. In a group with
/// [gates](crate::Group::with_gate), the group's next poll drops its guards.
///
/// # Examples
///
/// ```
/// use errgroup::{Boxed, Group, Slot};
///
/// # futures::executor::block_on(async {
/// let group = Group::new().with_limit(1);
/// let slot: Slot<Boxed<'_, (), &str>> = group.handle().reserve().await.unwrap();
/// assert!(group.handle().try_go(async { Ok(()) }).is_err());
/// assert!(slot.go(async { Err("made when there was room") }).is_ok());
/// assert_eq!(group.await, Err("made when there was room"));
/// # });
/// ```
#[must_use = "dropped, it gives the room up: call `go`"]
pub struct Slot<C: Kind> {
    ticket: Ticket<C>,
}

impl<C: Kind> Slot<C> {
    pub(crate) fn new(ticket: Ticket<C>) -> Self {
        Self { ticket }
    }

    /// Admits a child, without waiting.
    ///
    /// The room is that of a plain child. A [heavier](crate::Task::weight) one is queued at the
    /// position of the `reserve`, unless there is room for it. The child is queued as well
    ///
    /// - if there is no room in its [key](crate::Task::key), or it is
    ///   [unique](crate::Task::unique) and another one of its key has not ended;
    /// - if the limit was lowered below what runs;
    /// - if the slot was given to a child that waits [inside its own
    ///   group](crate::Handle#waiting-inside-a-child) while there was no room.
    ///
    /// # Errors
    ///
    /// Returns [`Stopped`] with the child, which was never polled, if the group has stopped. A
    /// group that was [closed](crate::Group::close) takes the child: it had room before.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    ///
    /// # futures::executor::block_on(async {
    /// let mut group = Group::new();
    /// let slot = group.handle().reserve().await.unwrap();
    /// assert!(slot.go(async { Ok::<_, ()>(1) }).is_ok());
    /// let slot = group.handle().reserve().await.unwrap();
    /// group.token().cancel();
    /// assert_eq!(slot.go(async { Ok(2) }).unwrap_err().into_inner().await, Ok(2));
    /// # assert!((&mut group).await.is_ok());
    /// # });
    /// ```
    pub fn go<A: Child<C>>(self, child: A) -> Result<(), Stopped<A>> {
        self.ticket.fill_slot(child).map_err(|refused| Stopped(TryGoError::into_inner(refused)))
    }
}

impl<C: Kind> fmt::Debug for Slot<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Slot(..)")
    }
}
