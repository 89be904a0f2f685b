//! What somebody holds who waits for room, or has been given it: given up on drop.

use alloc::sync::Arc;

use super::{Place, Shared, Who};
use crate::child::{Child, Kind};

/// A place in the line, or room that was granted there; given up on drop.
pub(crate) struct Stand<C: Kind> {
    shared: Arc<Shared<C>>,
    place: Option<Place>,
}

impl<C: Kind> Stand<C> {
    /// The place of one who may stand in the line.
    pub(crate) fn place(stand: &Option<Self>) -> Option<Place> {
        stand.as_ref().and_then(|stand| stand.place)
    }

    /// Notes where he stands now.
    pub(crate) fn set(stand: &mut Option<Self>, shared: &Arc<Shared<C>>, place: Option<Place>) {
        match stand {
            Some(stand) => stand.place = place,
            None if place.is_some() => {
                *stand = Some(Self { shared: Arc::clone(shared), place });
            }
            None => {}
        }
    }
}

impl<C: Kind> Drop for Stand<C> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            // The group's task is told whoever leaves: a `go` is dropped at any time.
            self.shared.leave(Who::Handle, place);
        }
    }
}

/// Room that is granted for a child that is yet to be asked for; given back on drop.
pub(crate) struct Reservation<'s, C: Kind> {
    pub(super) shared: &'s Shared<C>,
    pub(super) who: Who,
    /// Gone once the child has come.
    pub(super) place: Option<Place>,
}

impl<C: Kind> Reservation<'_, C> {
    /// Admits the child that the room was for, or queues one that needs more; false, and the
    /// child is dropped and counted so, where the group has stopped meanwhile.
    pub(crate) fn admit<A: Child<C>>(mut self, child: A) -> bool {
        let Some(place) = self.place.take() else {
            return false;
        };
        self.shared.fill(self.who, place, child)
    }
}

impl<C: Kind> Drop for Reservation<'_, C> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.shared.leave(self.who, place);
        }
    }
}
