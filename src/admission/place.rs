//! What somebody holds who waits for room, or has been given it: given up on drop.

use alloc::sync::Arc;
use core::future::Future;
use core::pin::Pin;
use core::task::Context;

use super::{Admitted, Place, Shared, Who};
use crate::future::Cancelled;
use crate::kind::{Child, Kind, Seal};

/// A place in the line, given up on drop.
pub(crate) struct Stand<C> {
    shared: Arc<Shared<C>>,
    place: Option<Place>,
    /// Hears of a stop, for who asks to.
    watch: Option<Cancelled>,
}

impl<C> Stand<C> {
    /// The place of one who may stand in the line.
    pub(crate) fn place(stand: &Option<Self>) -> Option<Place> {
        stand.as_ref().and_then(|stand| stand.place)
    }

    /// Notes where he stands now.
    pub(crate) fn set(stand: &mut Option<Self>, shared: &Arc<Shared<C>>, place: Option<Place>) {
        match stand {
            Some(stand) => stand.place = place,
            None if place.is_some() => {
                *stand = Some(Self { shared: Arc::clone(shared), place, watch: None });
            }
            None => {}
        }
    }

    /// Has the task of `cx` woken when the group stops; true where it has.
    pub(crate) fn hears_stop(&mut self, cx: &mut Context<'_>) -> bool {
        let watch = self.watch.get_or_insert_with(|| self.shared.token.cancelled());
        Pin::new(watch).poll(cx).is_ready()
    }
}

impl<C> Drop for Stand<C> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.shared.leave(place);
        }
    }
}

/// Room for one child, given back on drop.
pub(crate) struct Reservation<'s, C> {
    pub(super) shared: &'s Shared<C>,
    pub(super) who: Who,
    pub(super) held: bool,
}

impl<C> Reservation<'_, C> {
    /// Admits the child that the room was for; false, and the child counts as dropped, where
    /// the group has stopped meanwhile.
    pub(crate) fn admit<A: Child<C>>(mut self, child: A) -> bool
    where
        C: Kind,
    {
        self.held = false;
        let mut refused = None;
        self.shared.update(self.who, |state| {
            state.reserved -= 1;
            if state.closed || self.shared.is_stopped() {
                state.left = true;
                state.used -= 1;
                state.stats.dropped += 1;
                refused = Some(child);
                return false;
            }
            let index = state.next_index();
            let child = child.into_child(Seal::new());
            state.inbox.push_back(Admitted { child, index });
            true
        })
    }
}

impl<C> Drop for Reservation<'_, C> {
    fn drop(&mut self) {
        if self.held {
            self.shared.update(self.who, |state| {
                state.left = true;
                state.reserved -= 1;
                state.used -= 1;
            });
        }
    }
}
