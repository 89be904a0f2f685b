//! Newcomers: which of them are accepted, and which need not wait.
//!
//! | | says |
//! | --- | --- |
//! | [`refusal`](State::refusal) | why a newcomer is not accepted, whatever room there is |
//! | [`queue_refusal`](State::queue_refusal) | why it is not queued if it has no room |
//! | [`has_room`](State::has_room) | that it has room now, and comes before all that wait |
//! | [`try_take_room`](State::try_take_room) | the same, and takes the room |
//! | [`simply`](State::simply) | that it starts, or is queued, and that no other is concerned |
//!
//! The others ask these for a newcomer of one kind.

use super::running::Running;
use super::{Refused, Simply, State};
use crate::admission::passes::Asked;
use crate::admission::queue::{Position, Request};
use crate::child::task::Options;

// === whether it is accepted ===

impl State {
    /// Returns why a newcomer is refused, or `None` if it is accepted.
    #[inline]
    pub(crate) fn refusal(&self, request: Request<'_>, stopped: bool) -> Option<Refused> {
        let refusal = self.lifecycle.refusal(stopped);
        refusal.or_else(|| self.is_duplicate(request).then_some(Refused::AtLimit))
    }

    /// Returns `true` if the child is unique, and another one of its key runs or waits.
    pub(crate) fn is_duplicate(&self, request: Request<'_>) -> bool {
        request.unique && request.key.is_some_and(|key| self.queue.is_used(key))
    }

    /// Returns why a child without room is not queued, or `None` if it is. (A duplicate is.)
    #[inline]
    pub(crate) fn queue_refusal(&self, stopped: bool) -> Option<Refused> {
        if self.lifecycle.finished {
            return Some(Refused::Closed);
        }
        let is_full = self.queue_limit.is_some_and(|limit| self.queued >= limit);
        self.lifecycle.refusal(stopped).or(is_full.then_some(Refused::AtLimit))
    }

    /// Records that a child is refused. One that the caller does not keep counts as dropped.
    pub(crate) fn refuse(&mut self, refused: Refused, options: Option<&Options>, keeps: bool) {
        self.dropped += usize::from(!keeps);
        if let Some(log) = &mut self.log {
            log.rejected(refused != Refused::AtLimit, options);
        }
    }
}

// === whether it has room ===

impl State {
    /// Returns `true` if there is room for a newcomer, and no entry of the queue comes before it.
    #[inline]
    pub(crate) fn has_room(&mut self, request: Request<'_>) -> bool {
        // In this order: most newcomers are stopped by the cheapest look.
        self.room.fits(request.weight)
            && (!request.feed || self.may_feed())
            && self.queue.yields_to(request.priority)
            && self.queue.has_key_room(request, Position::last(request.priority))
    }

    /// Returns `true` if a plain newcomer that overtakes nothing has room.
    #[inline]
    pub(crate) fn admits_newcomers(&self) -> bool {
        !self.queue.has_head() && self.room.fits(1)
    }

    /// Takes room, a pass and a permit for a newcomer, if no entry of the queue comes before it.
    #[inline]
    pub(crate) fn try_take_room(&mut self, request: Request<'_>) -> bool {
        let free = self.has_room(request) && self.room.take_beside(request.weight);
        if free {
            self.take_room_for(request);
        }
        free
    }

    /// Returns `true` if a feed may ask its stream: together with the children of feeds that are
    /// queued behind their keys, no more children exist than may run.
    pub(super) fn may_feed(&self) -> bool {
        let fed = self.queue.fed();
        fed == 0 || self.room.fits_beside(fed)
    }

    /// Keeps room for a plain child of a feed of the group itself, which asks its stream next.
    /// Returns `false` if the feed has to wait.
    pub(crate) fn keep_room(&mut self, stopped: bool) -> bool {
        debug_assert!(!self.needs_more(), "then feeds do not come here");
        self.keeps_room = !self.has_freed_room
            && self.refusal(Request::FEED, stopped).is_none()
            && self.has_room(Request::FEED);
        if self.keeps_room {
            self.room.take(1);
        }
        self.keeps_room
    }

    /// Frees the room that is kept, if some is.
    pub(crate) fn give_up_room(&mut self) {
        if core::mem::take(&mut self.keeps_room) {
            self.room.put_back(1);
        }
    }

    /// Starts a plain child in the room that is kept, past those that have room: returns its index.
    /// `None` if none is kept, if there are some, or if the group has stopped.
    pub(crate) fn start_in_kept_room(&mut self, stopped: bool) -> Option<usize> {
        let is_first = !self.starts.has_started() && self.starts.is_clear();
        if !self.keeps_room || !is_first || !self.lifecycle.admits(stopped) {
            return None;
        }
        self.keeps_room = false;
        Some(self.start_in_set())
    }

    /// Returns what a gate is told of a child on offer, or `None` if the child does not lack a pass
    /// alone.
    pub(crate) fn asked_for(&mut self, options: Option<&Options>, stopped: bool) -> Option<Asked> {
        let request = Request::new(options).behind_all();
        let lacks = self.room.passes.are_needed
            && !self.room.passes.has_spare(request.weight)
            && self.refusal(request, stopped).is_none()
            && self.has_room(request);
        lacks.then(|| Asked::new(request))
    }
}

// === whether it concerns no other ===

impl State {
    /// Returns `true` if each child needs more than room: a permit of a semaphore, or a pass of a
    /// gate.
    pub(crate) fn needs_more(&self) -> bool {
        self.room.needs_beside()
    }

    /// Returns what becomes of the child of a newcomer, or `None` if that may concern another one.
    /// One that starts does so at once. One that waits changes nothing but the queue: the head
    /// comes before it, and goes on waiting.
    #[inline(always)]
    pub(crate) fn simply(&self, request: Request<'_>, stopped: bool) -> Option<Simply> {
        if self.has_freed_room {
            return None;
        }
        if self.queue.has_head() {
            let waits = !self.queue.yields_to(request.priority);
            return (waits && self.queue_refusal(stopped).is_none()).then_some(Simply::Waits);
        }
        let starts = !self.needs_more()
            && request.key.is_none()
            && self.room.fits(request.weight)
            && self.lifecycle.refusal(stopped).is_none()
            && self.starts.is_clear();
        starts.then_some(Simply::Starts)
    }

    /// Starts a plain child that goes to the set at once, past those that have room: returns its
    /// index. `None` if there are some, or no room, or if more is to be done than to count it.
    #[inline]
    pub(crate) fn try_start(&mut self, stopped: bool) -> Option<usize> {
        debug_assert!(!self.needs_more(), "then children do not come here");
        let is_first = !self.starts.has_started() && self.starts.is_clear() && !self.has_freed_room;
        if !is_first || self.lifecycle.refusal(stopped).is_some() || !self.admits_newcomers() {
            return None;
        }
        self.room.take(1);
        Some(self.start_in_set())
    }

    /// Starts a plain child that has room and goes to the set at once. Returns its index.
    #[inline]
    fn start_in_set(&mut self) -> usize {
        let index = self.starts.start_in_set();
        if self.looks_at_all {
            self.record_plain_start(index);
        }
        index
    }

    /// Records the start of such a child for an observer and for snapshots.
    #[inline(never)]
    fn record_plain_start(&mut self, index: usize) {
        if let Some(log) = &mut self.log {
            log.started_at_once(index);
        }
        if let Some(inspector) = &self.inspector {
            inspector.start(index);
            self.running.add_uncounted(index, Running::PLAIN);
        }
    }
}
