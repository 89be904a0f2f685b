//! The numbers, the line and the inbox of a group, and what keeps them settled: its own, or
//! behind the lock that it shares with its handles.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;

use super::end::ClosedEvent;
use super::line::{Entry, Inbox, Place, QueuedChild, Request, Slot, WaitQueue, Waiter};
use super::log::{Log, Name};
use super::nested::Nested;
use super::permits::Permits;
use super::roll::Key;
use crate::child::task::Options;
use crate::observe::Outcome;
use crate::spawned::{Spawner, Spawns};
use crate::stats::Stats;
use crate::util::sparse_queue::SparseQueue;

pub(super) struct State<C> {
    /// `queued` to `dropped` and the limit, as users see them; but who runs is counted in
    /// `count`.
    pub(super) stats: Stats,
    /// How many have room: the running children, and those who are awaited.
    pub(super) count: usize,
    /// Room that they take beyond one each.
    pub(super) heavy: u128,
    /// How many may enter a group without handles with no further look; there may be room for
    /// more.
    pub(super) quick: usize,
    /// How many of those who run have finished, and keep their room until another child's
    /// result has been fetched.
    pub(super) held: usize,
    /// How many slots of the inbox are awaited.
    pub(super) granted: usize,
    /// The index of the next child to start.
    pub(super) next_index: usize,
    /// The next number in the order of coming.
    pub(super) next: u64,
    pub(super) line: WaitQueue<C>,
    pub(super) nested: Nested,
    pub(super) inbox: Inbox<C>,
    /// The slots of the inbox whose owner was overtaken, by the number with which he came.
    pub(super) renamed: BTreeMap<u64, u64>,
    /// Those who have started and are not yet in the set; their indexes are the last ones given.
    pub(super) outbox: VecDeque<C>,
    /// How many of the outbox, from its front, have been sent abroad.
    pub(super) sent: usize,
    /// What is to be known of the children that have started, by their index.
    pub(super) marks: SparseQueue<Mark>,
    /// How many daemons have started and run.
    pub(super) daemons: usize,
    pub(super) permits: Option<Permits>,
    /// For an observer.
    pub(super) log: Option<Box<Log>>,
    /// Somebody who held the group open may have gone; for `settle` to look at.
    pub(super) left: bool,
    pub(super) closed: bool,
    /// The end has been announced: the children are gone too.
    pub(super) ended: bool,
    /// Made for the first who waits for it.
    pub(super) end: Option<Arc<ClosedEvent>>,
}

/// A running child that isn't like most.
pub(super) struct Mark {
    weight: usize,
    pub(super) daemon: bool,
    /// Kept for an observer only.
    name: Name,
}

// === impl State ===

impl<C> State<C> {
    pub(super) fn new() -> Self {
        Self {
            stats: Stats::default(),
            count: 0,
            heavy: 0,
            quick: 0,
            held: 0,
            granted: 0,
            next_index: 0,
            next: 0,
            line: WaitQueue::default(),
            nested: Nested::default(),
            inbox: Inbox::default(),
            renamed: BTreeMap::new(),
            outbox: VecDeque::new(),
            sent: 0,
            marks: SparseQueue::default(),
            daemons: 0,
            permits: None,
            log: None,
            left: false,
            closed: false,
            ended: false,
            end: None,
        }
    }

    // --- numbers ---

    /// How many run.
    pub(super) fn running(&self) -> usize {
        self.count - self.granted
    }

    /// The numbers for users.
    pub(super) fn stats(&self) -> Stats {
        Stats { running: self.running(), ..self.stats }
    }

    /// How many plain children may still be admitted.
    pub(super) fn room(&self) -> usize {
        self.stats.limit.map_or(usize::MAX, |limit| limit.saturating_sub(self.count))
    }

    /// Whether there is room for one of that weight.
    #[inline]
    pub(super) fn fits(&self, weight: usize) -> bool {
        let Some(limit) = self.stats.limit else {
            return true;
        };
        if self.heavy == 0 && weight == 1 {
            return self.count < limit;
        }
        let taken = self.count as u128 + self.heavy + weight as u128;
        // One that is heavier than the limit runs alone.
        taken <= limit as u128 || (self.count == 0 && limit > 0)
    }

    /// Whether a plain newcomer need not wait for room.
    pub(super) fn admits_newcomers(&self) -> bool {
        self.line.is_empty() && self.fits(1)
    }

    /// Whether a child was ever accepted.
    pub(super) fn has_accepted(&self) -> bool {
        let Stats { queued, dropped, .. } = self.stats;
        self.next_index > 0 || self.running() > 0 || queued > 0 || dropped > 0
    }

    pub(super) fn next(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    // --- coming ---

    /// Finds room for a newcomer, and a permit. He has it then, and is to be admitted.
    pub(super) fn lets_in(&mut self, want: Request) -> bool {
        self.line.gives_way_to(want.priority) && self.fits(want.weight) && self.take_permit()
    }

    pub(super) fn take_permit(&mut self) -> bool {
        self.permits.as_mut().is_none_or(Permits::take)
    }

    /// Puts one who waits in line, behind those of his priority.
    fn stand(&mut self, priority: i32, entry: impl FnOnce(Place) -> Entry<C>) -> Place {
        let place = Place { came: self.next(), priority };
        self.line.push(place, entry(place));
        place
    }

    /// Puts one in line who brings a child when his turn comes.
    pub(super) fn wait(&mut self, want: Request, key: Option<Key>) -> Place {
        let Request { weight, priority } = want;
        self.stand(priority, |place| {
            Entry::Waiter(Waiter { key, weight, place, told: false, to_queue: false })
        })
    }

    /// Puts a child into the queue.
    pub(super) fn queue(&mut self, load: QueuedChild<C>) {
        self.note_queued(&load);
        self.stand(load.priority(), |_| Entry::Queued(load));
    }

    pub(super) fn note_queued(&mut self, load: &QueuedChild<C>) {
        self.stats.queued += 1;
        if let Some(log) = &mut self.log {
            log.queued(name(load.options.as_deref()));
        }
    }

    /// Whether somebody waits there, or has been granted room.
    pub(super) fn awaits(&mut self, place: Place) -> bool {
        let slot = self.inbox.get_mut(self.number(place));
        slot.is_some_and(|slot| slot.awaited().is_some())
            || matches!(self.line.get_mut(place), Some(Entry::Waiter(_)))
    }

    /// Puts a child into the queue at the place of its waiter, and gives the waiter's key.
    pub(super) fn queue_at(&mut self, place: Place, load: QueuedChild<C>) -> Option<Key> {
        self.note_queued(&load);
        self.nested.remove(place);
        let waiter = self.line.remove(place);
        let place = Place { priority: load.priority(), ..place };
        self.line.insert(place, Entry::Queued(load));
        match waiter {
            Some(Entry::Waiter(waiter)) => waiter.key,
            _ => None,
        }
    }

    /// Counts a child that comes after a stop, and tells the observer.
    pub(super) fn refuse(&mut self, options: Option<&mut Options>) {
        self.stats.dropped += 1;
        self.reject(true, options);
    }

    /// Tells the observer of a child that was not accepted.
    pub(super) fn reject(&mut self, stopped: bool, options: Option<&mut Options>) {
        if let Some(log) = &mut self.log {
            log.rejected(stopped, || name(options.as_deref()));
        }
    }

    /// Takes room for a plain child that goes to the set at once; gives its index.
    #[inline]
    pub(super) fn enter(&mut self) -> usize {
        self.count += 1;
        let index = self.next_index;
        self.next_index += 1;
        index
    }

    pub(super) fn take_room(&mut self, weight: usize) {
        self.count += 1;
        self.heavy += weight as u128 - 1;
    }

    pub(super) fn free_room(&mut self, weight: usize) {
        self.count -= 1;
        self.heavy -= weight as u128 - 1;
        if let Some(permits) = &mut self.permits {
            permits.free(1);
        }
    }

    /// Admits one who was let in.
    pub(super) fn admit(&mut self, load: QueuedChild<C>) {
        self.take_room(load.weight());
        if self.inbox.is_empty() {
            self.start(load);
        } else {
            // Not before the child of one who is awaited.
            let came = self.next();
            self.inbox.push(came, Slot::Child(load));
        }
    }

    /// Hands a child that has room over to the set.
    pub(super) fn start(&mut self, load: QueuedChild<C>) {
        let index = self.next_index;
        self.next_index += 1;
        if load.options.is_some() || self.log.is_some() {
            self.mark(index, load.options);
        }
        self.outbox.push_back(load.child);
    }

    #[cold]
    fn mark(&mut self, index: usize, options: Option<Box<Options>>) {
        let (weight, daemon) = options.as_ref().map_or((1, false), |it| (it.weight, it.daemon));
        let name = self.log.as_mut().and_then(|log| {
            let name = name(options.as_deref());
            log.started(index, name.clone());
            name
        });
        self.daemons += usize::from(daemon);
        if weight > 1 || daemon || name.is_some() {
            self.marks.push(index as u64, Mark { weight, daemon, name });
        }
    }

    // --- going to the set ---

    /// Whether there are children that may go to the set.
    pub(super) fn has_mail(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// Swaps the children that may go to the set with `batch`, which is empty; gives the index
    /// of the first.
    pub(super) fn take_outbox(&mut self, batch: &mut VecDeque<C>) -> usize {
        core::mem::swap(&mut self.outbox, batch);
        self.sent = 0;
        self.next_index - batch.len()
    }

    /// Takes from those in the outbox who were not asked before what runs elsewhere.
    pub(super) fn send(&mut self, spawner: &Spawner<C>, starts: &mut Spawns) {
        let first = self.next_index - self.outbox.len();
        for (at, child) in self.outbox.iter_mut().enumerate().skip(self.sent) {
            if let Some(start) = spawner.start(child, first + at) {
                starts.push(start);
            }
        }
        self.sent = self.outbox.len();
    }

    // --- ending ---

    /// A running child that was like most is gone; its room is free.
    #[inline]
    pub(super) fn end_plain(&mut self, outcome: Outcome) {
        self.count -= 1;
        self.note(outcome);
    }

    #[inline]
    fn note(&mut self, outcome: Outcome) {
        *match outcome {
            Outcome::Ok => &mut self.stats.ok,
            Outcome::Failed => &mut self.stats.failed,
            Outcome::Panicked | Outcome::Dropped => &mut self.stats.dropped,
        } += 1;
    }

    /// A running child is gone; its room is free.
    pub(super) fn end(&mut self, index: usize, outcome: Outcome) {
        self.note(outcome);
        self.nested.forget(index);
        let mark = if self.marks.is_empty() { None } else { self.marks.remove(index as u64) };
        self.daemons -= usize::from(mark.as_ref().is_some_and(|mark| mark.daemon));
        self.free_room(mark.map_or(1, |mark| mark.weight));
    }

    /// Notes for the observer how a running child has ended.
    pub(super) fn report(&mut self, index: usize, outcome: Outcome) {
        if let Some(log) = &mut self.log {
            let name = self.marks.get_mut(index as u64).and_then(|mark| mark.name.take());
            log.finished(Some(index), name, outcome);
        }
    }

    /// A child has finished that keeps its room: the group need not end on its behalf.
    pub(super) fn keep(&mut self, index: usize) {
        if let Some(mark) = self.marks.get_mut(index as u64) {
            self.daemons -= usize::from(core::mem::take(&mut mark.daemon));
        }
    }

    /// Notes who has finished, and keeps his room until another one's result has been fetched:
    /// so many, these. Nobody can wait for that room within this other one.
    pub(super) fn hold(&mut self, count: usize, indexes: impl Iterator<Item = usize>) {
        self.held = count;
        if self.nested.children() > 0 {
            indexes.for_each(|index| self.nested.forget(index));
        }
    }

    /// Notes for the observer that one who was admitted was dropped before it started.
    pub(super) fn report_unstarted(&mut self, options: Option<&Options>) {
        if let Some(log) = &mut self.log {
            log.finished(None, name(options), Outcome::Dropped);
        }
    }

    /// Clears the line after a stop, and takes back what was granted; the children that stood
    /// in line are to be dropped.
    pub(super) fn clear_line(&mut self) -> WaitQueue<C> {
        self.stats.dropped += core::mem::take(&mut self.stats.queued);
        if let Some(log) = &mut self.log {
            for load in self.line.iter_queued() {
                log.finished(None, name(load.options.as_deref()), Outcome::Dropped);
            }
        }
        self.nested = Nested::default();
        if self.granted > 0 {
            let mut room = 0;
            self.inbox.retain(|slot| match slot.awaited() {
                None => true,
                Some(weight) => {
                    room += weight as u128 - 1;
                    false
                }
            });
            self.renamed.clear();
            self.heavy -= room;
            self.count -= self.granted;
            if let Some(permits) = &mut self.permits {
                permits.free(self.granted);
            }
            self.granted = 0;
        }
        core::mem::take(&mut self.line)
    }

    /// Whether nothing runs that the group waits for, and nobody waits; after a stop, nobody is
    /// waited for, but daemons are.
    pub(super) fn is_over(&self, stopped: bool) -> bool {
        if stopped {
            self.running() == 0
        } else {
            self.count - self.held == self.daemons && self.line.is_empty()
        }
    }

    /// Whether there are daemons and nobody else; those in the queue hold nothing open either.
    pub(super) fn has_daemons_only(&self) -> bool {
        self.count - self.held == self.daemons
            && (self.daemons > 0 || !self.line.is_empty())
            && self.line.has_daemons_only()
    }

    /// Whether the group has an end to come to when it is polled.
    pub(super) fn may_end(&self, stopped: bool) -> bool {
        self.is_over(stopped) || (!stopped && self.has_daemons_only())
    }

    /// Closes the group if nothing runs and nothing waits.
    pub(super) fn try_close(&mut self, stopped: bool) -> bool {
        self.closed = self.running() == 0 && self.is_over(stopped);
        self.quick = 0;
        self.closed
    }

    /// Closes the group whatever runs: admission ends here. What ran counts as dropped. Gives
    /// those who were admitted and are not in the set: who have started, and their first index,
    /// and who have not.
    pub(super) fn close_now(&mut self) -> (usize, VecDeque<C>, Inbox<C>) {
        self.closed = true;
        self.quick = 0;
        self.stats.dropped += self.running();
        // The permits are kept until the children are dropped.
        (self.count, self.heavy, self.granted) = (0, 0, 0);
        (self.held, self.daemons) = (0, 0);
        let mut started = VecDeque::new();
        let first = self.take_outbox(&mut started);
        (first, started, core::mem::take(&mut self.inbox))
    }
}

/// The name that was given to a child.
fn name(options: Option<&Options>) -> Name {
    options?.name.as_deref().map(Arc::from)
}
