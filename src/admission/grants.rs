//! Room that is granted before its child has come: to one who waited in the line, or who has
//! yet to ask for the child.

use super::line::{Entry, Load, Place, Slot, Waiter, Want};
use super::roll::Key;
use super::state::State;

impl<C> State<C> {
    /// Takes room for a newcomer who was let in and whose child is awaited.
    pub(super) fn grant_newcomer(&mut self, want: Want) -> Place {
        let place = Place { came: self.next(), priority: want.priority };
        self.grant(place, want.weight, Slot::Taken(want.weight));
        place
    }

    pub(super) fn grant(&mut self, place: Place, weight: usize, slot: Slot<C>) {
        self.take_room(weight);
        self.granted += 1;
        let came = self.inbox_number(place.came);
        if came != place.came {
            self.renamed.insert(place.came, came);
        }
        self.inbox.push(came, slot);
    }

    /// The number under which one who came so goes to the end of the inbox: his own, or a new
    /// one where others have overtaken him.
    pub(super) fn inbox_number(&mut self, came: u64) -> u64 {
        match self.inbox.last() {
            Some((last, _)) if last > came => self.next(),
            _ => came,
        }
    }

    /// Where he stands in the inbox, if he does.
    pub(super) fn number(&self, place: Place) -> u64 {
        self.renamed.get(&place.came).copied().unwrap_or(place.came)
    }

    /// Returns `true` if room was granted there to a waiter that has not come yet.
    pub(super) fn is_granted(&mut self, place: Place) -> bool {
        let number = self.number(place);
        self.granted > 0 && matches!(self.inbox.get_mut(number), Some(Slot::Granted(_)))
    }

    /// Whether there is room for one who waited; if so, he has come, and has it.
    /// Gives his key.
    pub(super) fn take_grant(&mut self, place: Place) -> Option<Option<Key>> {
        if self.granted == 0 {
            return None;
        }
        let slot = self.inbox.get_mut(self.number(place))?;
        let Slot::Granted(Waiter { key, weight, .. }) = *slot else {
            return None;
        };
        *slot = Slot::Taken(weight);
        Some(key)
    }

    /// Brings the child for which room was granted. Gives it back where it is not any more.
    ///
    /// It may need more than was granted, or come with another priority, where it was asked for
    /// on that room; then it is queued, where it does not fit, and keeps the turn.
    pub(super) fn fill(&mut self, place: Place, load: Load<C>) -> Result<(), C> {
        let number = self.number(place);
        let room = self.inbox.get_mut(number).and_then(|slot| slot.awaited());
        let Some(room) = room else {
            return Err(load.child);
        };
        let more = load.weight() - room;
        if more == 0 || self.count == 1 || self.fits(more) {
            self.heavy += more as u128;
            self.granted -= 1;
            self.renamed.remove(&place.came);
            if let Some(slot) = self.inbox.get_mut(number) {
                *slot = Slot::Child(load);
            }
        } else {
            self.give_back(place);
            self.note_queued(&load);
            // Not behind those who stood behind whoever brings it: his next children among them,
            // or he would ask for one after the other, all for the queue.
            let place = Place { priority: load.priority().max(place.priority), ..place };
            self.line.insert(place, Entry::Queued(load));
        }
        Ok(())
    }

    /// Gives back room that was granted, if it is still. Gives the key of who had it.
    pub(super) fn give_back(&mut self, place: Place) -> Option<Key> {
        if self.granted == 0 {
            return None;
        }
        let number = self.number(place);
        let weight = self.inbox.get_mut(number)?.awaited()?;
        let slot = self.inbox.remove(number);
        self.renamed.remove(&place.came);
        self.granted -= 1;
        self.free_room(weight);
        match slot {
            Some(Slot::Granted(waiter)) => waiter.key,
            _ => None,
        }
    }

    /// Takes granted room back, after the limit has been lowered: of those who have not come,
    /// last come first, up to one behind whom a child stands already (it can't go back to the
    /// queue, and does not start before him). Each stands in line again where he stood.
    pub(super) fn take_back(&mut self) {
        while self.granted > 0 && self.is_over_limit() {
            let Some((_, Slot::Granted(waiter))) = self.inbox.last() else {
                return;
            };
            let place = waiter.place;
            if let Some(Slot::Granted(waiter)) = self.inbox.remove(self.number(place)) {
                self.renamed.remove(&place.came);
                self.granted -= 1;
                self.free_room(waiter.weight);
                // He has been told, and stands in no child until he has come.
                self.line.insert(place, Entry::Waiter(waiter));
            }
        }
    }

    /// Whether more room is taken than there is; but for one who runs alone.
    fn is_over_limit(&self) -> bool {
        let taken = self.count as u128 + self.heavy;
        self.stats
            .limit
            .is_some_and(|limit| taken > limit as u128 && (self.count > 1 || limit == 0))
    }
}
