//! What the state promises, in lists that are searched from end to end.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::observe::Outcome;
use crate::stats::Stats;

/// What a child asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Traits {
    pub(crate) weight: usize,
    pub(crate) priority: i32,
    pub(crate) daemon: bool,
    pub(crate) of: Option<ChildrensKey>,
    pub(crate) unique: bool,
    pub(crate) joinable: bool,
    /// It is aborted before it comes.
    pub(crate) early: bool,
    /// A `feed` asks, which does not know its child.
    pub(crate) feed: bool,
}

impl Traits {
    pub(crate) const PLAIN: Self = Self {
        weight: 1,
        priority: 0,
        daemon: false,
        of: None,
        unique: false,
        joinable: false,
        early: false,
        feed: false,
    };

    pub(crate) const FEED: Self = Self { feed: true, ..Self::PLAIN };
}

/// What a child works on.
pub(crate) type ChildrensKey = u8;

/// Names a child.
pub(crate) type Key = usize;
pub(crate) type WaiterId = usize;

/// A child or a waiter in the queue.
#[derive(Clone, Debug)]
struct Entry {
    priority: i32,
    arrival: usize,
    weight: usize,
    of: Option<ChildrensKey>,
    unique: bool,
    /// A `feed`, or a child of one that has a key.
    fed: bool,
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Child { key: Key, daemon: bool },
    Waiter(WaiterId),
}

impl Entry {
    /// Returns its place in the order of the queue, lowest first.
    fn order(&self) -> (i64, usize) {
        (-i64::from(self.priority), self.arrival)
    }
}

/// A child or a waiter that has room, and has not started.
#[derive(Clone, Debug)]
struct Admitted {
    weight: usize,
    of: Option<ChildrensKey>,
    unique: bool,
    what: What,
}

#[derive(Clone, Debug)]
pub(crate) struct Running {
    pub(crate) index: usize,
    pub(crate) key: Key,
    weight: usize,
    of: Option<ChildrensKey>,
    daemon: bool,
    /// Its passes were given up before it ended.
    passed: bool,
    /// It has been taken in.
    pub(crate) in_set: bool,
    /// It has finished, and its result was not fetched.
    pub(crate) unfetched: bool,
}

#[derive(Debug)]
struct Waiter {
    own: bool,
    weight: usize,
    of: Option<ChildrensKey>,
    feed: bool,
    priority: i32,
    arrival: usize,
    unique: bool,
    stage: Stage,
    /// It has a waker to be woken by.
    has_waker: bool,
    /// It has its turn, and was not polled since.
    unpolled: bool,
    inside: Option<usize>,
    /// Inside which child it was when it got its turn.
    left: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Waiting,
    MustQueue,
    Reserved { claimed: bool, must_queue: bool },
    Stopped,
}

/// The answer to a waiter that is polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Ready,
    Pending,
    NeedsWaker,
    Stopped,
}

/// The semaphore, of which nothing else is known than what the schedule does with it.
#[derive(Debug)]
pub(crate) struct Permits {
    /// In the semaphore.
    pub(crate) available: usize,
    /// Freed in this change.
    spare: usize,
    /// How often a spare permit was used since other groups had a turn.
    reused: usize,
    /// In how many polls other groups have their turn.
    paused: usize,
    wanted: bool,
    /// Of children of a closed group that are not gone yet.
    kept: usize,
}

/// The passes of a group with gates. Which child has which does not matter.
#[derive(Debug, Default)]
pub(crate) struct Passes {
    /// The weights of the children that may take those that no child has.
    pub(crate) spare: Vec<usize>,
    pub(crate) wanted: bool,
    /// Those of children that have ended, and of reservations that have come to nothing.
    pub(crate) over: usize,
}

/// How many permits a group takes over in a row.
const REUSE: usize = 32;

/// In how many polls it then takes none.
const PAUSE: usize = 2;

#[derive(Debug, Default)]
pub(crate) struct Reference {
    pub(crate) limit: Option<usize>,
    pub(crate) permits: Option<Permits>,
    pub(crate) passes: Option<Passes>,
    /// The limit of each key that has none of its own.
    pub(crate) key_limit: Option<usize>,
    pub(crate) own_limits: BTreeMap<ChildrensKey, Option<usize>>,
    pub(crate) queue_limit: Option<usize>,
    /// The joinable children that are aborted when they come.
    pub(crate) early: BTreeSet<Key>,
    /// The children that were aborted in the queue and did not come out yet.
    pub(crate) aborted: Vec<Key>,
    /// Those that were aborted after that.
    pub(crate) no_result: BTreeSet<Key>,
    pub(crate) stopped: bool,
    pub(crate) queue_dropped: bool,
    pub(crate) closed: bool,
    /// It has ended by itself.
    pub(crate) finished: bool,
    queue: Vec<Entry>,
    admitted: Vec<Admitted>,
    pub(crate) running: Vec<Running>,
    pub(crate) started: VecDeque<(usize, Key)>,
    waiters: BTreeMap<WaiterId, Waiter>,
    arrivals: usize,
    next_index: usize,
    ok: usize,
    failed: usize,
    dropped: usize,
    pub(crate) blocked: usize,
    /// Room was freed that the queue has not had yet.
    pub(crate) freed: bool,
    /// The group need not wait for a permit any more.
    pub(crate) cancel_acquire: bool,
    /// Waiters that had been told to queue their children and were polled before they were woken.
    /// A needless wake-up is allowed.
    pub(crate) may_wake: Vec<WaiterId>,
}

// === room ===

impl Reference {
    pub(crate) fn new(limit: Option<usize>, permits: Option<usize>) -> Self {
        let permits = permits.map(|available| Permits {
            available,
            spare: 0,
            reused: 0,
            paused: 0,
            wanted: false,
            kept: 0,
        });
        Self { limit, permits, ..Self::default() }
    }

    fn occupied(&self) -> usize {
        self.admitted.len() + self.running.len()
    }

    /// Returns the room that is taken.
    fn taken(&self) -> usize {
        let admitted = self.admitted.iter().map(|it| it.weight);
        admitted.chain(self.running.iter().map(|it| it.weight)).sum()
    }

    fn reserved(&self) -> usize {
        self.admitted.iter().filter(|it| matches!(it.what, What::Waiter(_))).count()
    }

    fn fits(&self, weight: usize) -> bool {
        self.limit.is_none_or(|limit| {
            limit > 0 && (weight == 0 || self.taken() == 0 || self.taken() + weight <= limit)
        })
    }

    /// Returns the weights of the children of a key that have room.
    fn weights_of(&self, of: ChildrensKey) -> Vec<usize> {
        let admitted = self.admitted.iter().map(|it| (it.of, it.weight));
        let all = admitted.chain(self.running.iter().map(|it| (it.of, it.weight)));
        all.filter(|it| it.0 == Some(of)).map(|it| it.1).collect()
    }

    fn limit_of(&self, of: ChildrensKey) -> Option<usize> {
        self.own_limits.get(&of).copied().unwrap_or(self.key_limit)
    }

    /// Returns `true` if a key has room.
    fn fits_key(&self, of: Option<ChildrensKey>, weight: usize, unique: bool) -> bool {
        let Some(of) = of else { return true };
        let weights = self.weights_of(of);
        let taken: usize = weights.iter().sum();
        (!unique || weights.is_empty())
            && self.limit_of(of).is_none_or(|limit| {
                limit > 0 && (weight == 0 || taken == 0 || taken + weight <= limit)
            })
    }

    /// Returns `true` if a reservation has lost its room in its key, of which the limit was lowered
    /// since.
    fn exceeds_key_limit(&self, of: ChildrensKey, weight: usize) -> bool {
        let taken: usize = self.weights_of(of).iter().sum();
        let is_over = |limit| limit == 0 || (weight > 0 && taken > limit && taken > weight);
        self.limit_of(of).is_some_and(is_over)
    }

    /// Ends the passes that no child has, unless the head of the queue keeps one while it waits for
    /// a permit.
    pub(crate) fn end_spare_passes(&mut self) {
        if !self.permits.as_ref().is_some_and(|permits| permits.wanted) {
            let passes = self.passes.iter_mut();
            passes.for_each(|passes| passes.over += std::mem::take(&mut passes.spare).len());
        }
    }

    /// Returns `true` if a child that is unique is one too many.
    pub(crate) fn is_duplicate(&self, traits: Traits) -> bool {
        let of = traits.of.filter(|_| traits.unique);
        of.is_some_and(|of| {
            !self.weights_of(of).is_empty() || self.queue.iter().any(|it| it.of == Some(of))
        })
    }

    /// Returns `true` if a `feed` may ask for a child.
    fn may_feed(&self) -> bool {
        let is_child = |it: &&Entry| matches!(it.what, What::Child { .. });
        let fed = self.queue.iter().filter(|it| it.fed).filter(is_child).count();
        fed == 0 || self.limit.is_none_or(|limit| self.taken() + fed < limit)
    }

    /// Returns `true` if an entry lacks at most what all children need. It is the first of its key.
    fn is_candidate(&self, entry: &Entry) -> bool {
        let is_feed = entry.fed && matches!(entry.what, What::Waiter(_));
        let is_first = || {
            let mut same = self.queue.iter().filter(|it| it.of == entry.of);
            entry.of.is_none() || same.all(|it| it.order() >= entry.order())
        };
        (!is_feed || self.may_feed())
            && is_first()
            && self.fits_key(entry.of, entry.weight, entry.unique)
    }

    fn candidates(&self) -> impl Iterator<Item = (usize, &Entry)> {
        self.queue.iter().enumerate().filter(|(_, entry)| self.is_candidate(entry))
    }

    fn take_permit(&mut self, weight: usize) -> bool {
        if let Some(passes) = &mut self.passes {
            let Some(at) = passes.spare.iter().position(|of| *of == weight) else { return false };
            passes.spare.swap_remove(at);
        }
        let taken = self.take_semaphores_permit();
        if !taken {
            self.passes.iter_mut().for_each(|passes| passes.spare.push(weight));
        }
        taken
    }

    fn end_pass(&mut self) {
        self.passes.iter_mut().for_each(|passes| passes.over += 1);
    }

    fn take_semaphores_permit(&mut self) -> bool {
        let Some(permits) = &mut self.permits else { return true };
        if permits.spare > 0 {
            if permits.reused >= REUSE && permits.paused == 0 {
                permits.paused = PAUSE;
            }
            if permits.paused == 0 {
                permits.spare -= 1;
                permits.reused += 1;
                return true;
            }
        }
        if permits.paused > 0 || permits.available == 0 {
            return false;
        }
        permits.available -= 1;
        true
    }

    fn free_permits(&mut self, count: usize) {
        if let Some(permits) = &mut self.permits {
            permits.spare += count;
        }
    }

    /// Returns `true` if a newcomer may have room: nothing that waits comes before it.
    pub(crate) fn takes_newcomer(&mut self, traits: Traits) -> bool {
        self.has_room(traits) && self.take_permit(traits.weight)
    }

    /// Returns `true` if a newcomer lacks at most a pass and a permit.
    pub(crate) fn has_room(&self, traits: Traits) -> bool {
        let Traits { weight, priority, of, unique, feed, .. } = traits;
        self.fits(weight)
            && (!feed || self.may_feed())
            && self.candidates().all(|(_, entry)| entry.priority < priority)
            && self.has_key_room(of, weight, unique, (-i64::from(priority), usize::MAX))
    }

    /// Returns `true` if a key has room, and no entry of the key comes before that place.
    fn has_key_room(
        &self,
        of: Option<ChildrensKey>,
        weight: usize,
        unique: bool,
        order: (i64, usize),
    ) -> bool {
        let mut same = self.queue.iter().filter(|it| it.of == of);
        of.is_none() || (same.all(|it| it.order() > order) && self.fits_key(of, weight, unique))
    }

    pub(crate) fn admits_newcomers(&self) -> bool {
        self.candidates().next().is_none() && self.fits(1)
    }

    /// Returns `true` if `queue` refuses a child without room, since there are so many.
    pub(crate) fn is_queue_full(&self) -> bool {
        self.queue_limit.is_some_and(|limit| self.stats().queued >= limit)
    }

    pub(crate) fn refuses(&self) -> bool {
        self.stopped || self.closed
    }
}

// === children and waiters that come ===

impl Reference {
    pub(crate) fn admit(&mut self, key: Key, traits: Traits) {
        let what = What::Child { key, daemon: traits.daemon };
        let Traits { weight, of, unique, .. } = traits;
        self.admitted.push(Admitted { weight, of, unique, what });
        self.start();
    }

    pub(crate) fn enqueue(&mut self, key: Key, traits: Traits) {
        self.arrivals += 1;
        self.enqueue_at(self.arrivals, traits.priority, key, traits, false);
    }

    fn enqueue_at(&mut self, arrival: usize, priority: i32, key: Key, traits: Traits, fed: bool) {
        let Traits { weight, daemon, of, unique, .. } = traits;
        let fed = fed && of.is_some();
        let what = What::Child { key, daemon };
        self.queue.push(Entry { priority, arrival, weight, of, unique, fed, what });
        if self.early.contains(&key) {
            self.abort_queued(key);
        }
    }

    /// Takes a child that is aborted out of the queue. Returns `false` if it is not there.
    pub(crate) fn abort_queued(&mut self, child: Key) -> bool {
        let is_meant = |it: &Entry| matches!(it.what, What::Child { key, .. } if key == child);
        let found = self.queue.iter().any(is_meant);
        self.queue.retain(|it| !is_meant(it));
        if found {
            self.dropped += 1;
            self.aborted.push(child);
        }
        found
    }

    pub(crate) fn refuse(&mut self) {
        self.dropped += 1;
    }

    pub(crate) fn wait(
        &mut self,
        id: WaiterId,
        own: bool,
        traits: Traits,
        inside: Option<usize>,
        can_register: bool,
    ) -> Answer {
        if !can_register {
            return Answer::NeedsWaker;
        }
        self.arrivals += 1;
        let Traits { weight, priority, of, unique, feed, .. } = traits;
        let (arrival, inside) = (self.arrivals, self.blocks(inside));
        let (stage, has_waker, unpolled) = (Stage::Waiting, !own, false);
        let waiter = Waiter {
            own,
            weight,
            of,
            feed,
            priority,
            arrival,
            unique,
            stage,
            has_waker,
            unpolled,
            inside,
            left: None,
        };
        self.waiters.insert(id, waiter);
        let (fed, what) = (feed, What::Waiter(id));
        self.queue.push(Entry { priority, arrival, weight, of, unique, fed, what });
        Answer::Pending
    }

    /// Reserves the room that a plain newcomer has taken.
    pub(crate) fn reserve(&mut self, id: WaiterId, own: bool) {
        self.arrivals += 1;
        let stage = Stage::Reserved { claimed: true, must_queue: false };
        let waiter = Waiter {
            own,
            weight: 1,
            of: None,
            feed: true,
            priority: 0,
            arrival: self.arrivals,
            unique: false,
            stage,
            has_waker: false,
            unpolled: false,
            inside: None,
            left: None,
        };
        self.waiters.insert(id, waiter);
        let what = What::Waiter(id);
        self.admitted.push(Admitted { weight: 1, of: None, unique: false, what });
    }

    /// Returns `true` if a child has room, and has not ended.
    pub(crate) fn has_child(&self, child: Key) -> bool {
        let is_meant = |it: &Admitted| matches!(it.what, What::Child { key, .. } if key == child);
        self.admitted.iter().any(is_meant) || self.running.iter().any(|it| it.key == child)
    }

    /// Returns the weight and the key of the head, on whose behalf the gates are asked.
    pub(crate) fn asked(&self) -> Option<(usize, Option<ChildrensKey>)> {
        let wanted = self.passes.as_ref().is_some_and(|passes| passes.wanted);
        let head = self.head().filter(|_| wanted)?;
        Some((self.queue[head].weight, self.queue[head].of))
    }

    /// Returns the child that a waiter blocks; daemons are not waited for.
    fn blocks(&self, inside: Option<usize>) -> Option<usize> {
        let child = self.running.iter().find(|it| Some(it.index) == inside)?;
        (!child.daemon).then_some(child.index)
    }

    pub(crate) fn has_turn(&self, id: WaiterId) -> bool {
        let stage = self.waiters.get(&id).map(|waiter| waiter.stage);
        matches!(stage, Some(Stage::Reserved { .. } | Stage::MustQueue))
    }

    pub(crate) fn has_waker(&self, id: WaiterId) -> bool {
        self.waiters.get(&id).is_some_and(|waiter| waiter.has_waker)
    }

    pub(crate) fn poll(&mut self, id: WaiterId, inside: Option<usize>, registers: bool) -> Answer {
        let inside = self.blocks(inside);
        let waiter = &self.waiters[&id];
        if let (Stage::Reserved { .. }, true, Some(of)) = (waiter.stage, waiter.own, waiter.of) {
            if self.exceeds_key_limit(of, waiter.weight) {
                self.take_back(id);
            }
        }
        let waiter = self.waiters.get_mut(&id).expect("the waiter is known");
        match &mut waiter.stage {
            Stage::Stopped => return Answer::Stopped,
            Stage::Waiting if !registers => return Answer::NeedsWaker,
            Stage::Waiting => {
                (waiter.inside, waiter.has_waker) = (inside, !waiter.own);
                return Answer::Pending;
            }
            Stage::Reserved { claimed, .. } => *claimed = true,
            Stage::MustQueue if waiter.unpolled && waiter.has_waker => self.may_wake.push(id),
            Stage::MustQueue => {}
        }
        waiter.unpolled = false;
        Answer::Ready
    }

    pub(crate) fn fill(&mut self, id: WaiterId, key: Key, traits: Traits) {
        let waiter = self.waiters.remove(&id).expect("the waiter is known");
        match waiter.stage {
            Stage::MustQueue => {
                self.queue.retain(|entry| entry.what != What::Waiter(id));
                self.enqueue_at(waiter.arrival, traits.priority, key, traits, waiter.feed);
            }
            Stage::Reserved { .. } => {
                let at = self.position(id);
                let Traits { weight, of, unique, .. } = traits;
                let priority = traits.priority.max(waiter.priority);
                let order = (-i64::from(priority), waiter.arrival);
                let fits_key = match of {
                    Some(of) if waiter.of.is_some() => !self.exceeds_key_limit(of, waiter.weight),
                    // A unique child that starts after it would start beside it.
                    _ => {
                        let mut later = self.admitted[at..].iter();
                        self.has_key_room(of, weight, unique, order)
                            && !later.any(|it| it.unique && it.of.is_some() && it.of == of)
                    }
                };
                self.admitted.remove(at);
                if fits_key && (weight <= waiter.weight || self.fits(weight)) {
                    let what = What::Child { key, daemon: traits.daemon };
                    self.admitted.insert(at, Admitted { weight, of, unique, what });
                } else {
                    self.free_permits(1);
                    self.end_pass();
                    self.enqueue_at(waiter.arrival, priority, key, traits, waiter.feed);
                }
            }
            stage => panic!("a waiter fills that is {stage:?}"),
        }
    }

    fn position(&self, id: WaiterId) -> usize {
        let position = self.admitted.iter().position(|it| it.what == What::Waiter(id));
        position.expect("the waiter has room")
    }

    pub(crate) fn abandon(&mut self, id: WaiterId) {
        let Some(waiter) = self.waiters.remove(&id) else { return };
        match waiter.stage {
            Stage::Reserved { .. } => {
                self.admitted.remove(self.position(id));
                self.free_permits(1);
                self.end_pass();
            }
            _ => self.queue.retain(|entry| entry.what != What::Waiter(id)),
        }
    }
}

// === the queue ===

impl Reference {
    /// Begins a change: room that was freed goes to the queue first.
    pub(crate) fn begin(&mut self) {
        if self.freed {
            self.process(false);
        }
    }

    /// Gives room to those that wait, in their order, and none to the others.
    pub(crate) fn process(&mut self, stopped: bool) {
        self.freed = false;
        let admits = !stopped && !self.closed;
        let mut lacks_permit = false;
        if admits {
            self.revoke();
            lacks_permit = self.admit_queue();
        }
        self.start();
        if admits {
            self.unblock();
        }
        let head = self.head().map(|at| self.queue[at].weight);
        if let Some(passes) = &mut self.passes {
            passes.wanted = lacks_permit && head.is_some_and(|it| !passes.spare.contains(&it));
            lacks_permit &= !passes.wanted;
            if let Some(weight) = head {
                // One is of use to the head, if that lacks only a permit.
                let kept = lacks_permit && passes.spare.contains(&weight);
                passes.over += std::mem::take(&mut passes.spare).len() - usize::from(kept);
                passes.spare.extend(kept.then_some(weight));
            }
        }
        if let Some(permits) = &mut self.permits {
            self.cancel_acquire |= permits.wanted && !lacks_permit;
            permits.wanted = lacks_permit;
        }
    }

    fn head(&self) -> Option<usize> {
        self.candidates().min_by_key(|(_, entry)| entry.order()).map(|(at, _)| at)
    }

    fn admit_queue(&mut self) -> bool {
        while let Some(head) = self.head() {
            let Entry { weight, of, unique, what, .. } = self.queue[head];
            if !self.fits(weight) {
                return false;
            }
            if !self.take_permit(weight) {
                return true;
            }
            self.queue.remove(head);
            self.admitted.push(Admitted { weight, of, unique, what });
            if let What::Waiter(id) = what {
                let waiter = self.waiters.get_mut(&id).expect("the waiter is known");
                let must_queue = waiter.stage == Stage::MustQueue;
                waiter.stage = Stage::Reserved { claimed: false, must_queue };
                (waiter.left, waiter.inside, waiter.unpolled) = (waiter.inside, None, true);
            }
        }
        false
    }

    /// Children start in the order in which they got room.
    fn start(&mut self) {
        while let Some(Admitted { weight, of, what: What::Child { key, daemon }, .. }) =
            self.admitted.first().cloned()
        {
            self.admitted.remove(0);
            let index = self.next_index;
            self.next_index += 1;
            let (passed, in_set, unfetched) = (false, false, false);
            let child = Running { index, key, weight, of, daemon, passed, in_set, unfetched };
            self.running.push(child);
            self.started.push_back((index, key));
        }
    }

    fn is_over_limit(&self) -> bool {
        let admitted = self.admitted.iter().map(|it| it.weight);
        let weights = admitted.chain(self.running.iter().map(|it| it.weight));
        let weighty = weights.filter(|weight| *weight > 0).count();
        self.limit.is_some_and(|limit| match limit {
            0 => self.occupied() > 0,
            _ => self.taken() > limit && weighty > 1,
        })
    }

    /// Returns `true` if the last that has room is reserved, its owner does not know of it, and it
    /// takes room; or all after such a one take none.
    fn can_revoke(&self) -> bool {
        for Admitted { weight, what, .. } in self.admitted.iter().rev() {
            let What::Waiter(id) = what else { return false };
            let Stage::Reserved { claimed: false, .. } = self.waiters[id].stage else {
                return false;
            };
            // One that takes no room gives none back, but nothing starts at a limit of 0.
            if *weight > 0 || self.limit == Some(0) {
                return true;
            }
        }
        false
    }

    /// A lowered limit takes back what is reserved last, unless its owner knows of it.
    fn revoke(&mut self) {
        while self.is_over_limit() && self.can_revoke() {
            let Some(Admitted { what: What::Waiter(id), .. }) = self.admitted.last() else {
                return;
            };
            if !self.take_back(*id) {
                return;
            }
        }
    }

    /// Takes the reservation of a waiter back. Returns `false` if it has none.
    fn take_back(&mut self, id: WaiterId) -> bool {
        let waiter = self.waiters.get_mut(&id).expect("the waiter is known");
        let Stage::Reserved { must_queue, .. } = waiter.stage else { return false };
        waiter.stage = if must_queue { Stage::MustQueue } else { Stage::Waiting };
        waiter.unpolled &= must_queue;
        if !must_queue && waiter.has_waker {
            // It was not woken yet, so its child does not go on.
            waiter.inside = waiter.left.take();
        }
        let &mut Waiter { priority, arrival, unique, feed: fed, .. } = waiter;
        let what = What::Waiter(id);
        let Admitted { weight, of, .. } = self.admitted.remove(self.position(id));
        self.queue.push(Entry { priority, arrival, weight, of, unique, fed, what });
        self.free_permits(1);
        self.end_pass();
        true
    }

    /// Returns how many running children contain a waiter.
    fn blocked_children(&self) -> usize {
        let is_blocked = |child: &&Running| {
            !child.unfetched && self.waiters.values().any(|it| it.inside == Some(child.index))
        };
        self.running.iter().filter(is_blocked).count()
    }

    /// If every running child contains a waiter, the oldest of these queues its child.
    fn unblock(&mut self) {
        if self.reserved() > 0 {
            return;
        }
        let blocked = self.blocked_children();
        let daemons = self.running.iter().filter(|child| child.daemon).count();
        if blocked == 0 || blocked + daemons != self.running.len() - self.blocked {
            return;
        }
        let runs = |index| self.running.iter().any(|it| it.index == index && !it.unfetched);
        let nested = self.waiters.values_mut().filter(|waiter| waiter.inside.is_some_and(runs));
        let oldest = nested.min_by_key(|waiter| waiter.arrival).expect("a child contains a waiter");
        (oldest.left, oldest.stage) = (oldest.inside, Stage::MustQueue);
        (oldest.inside, oldest.unpolled) = (None, true);
    }

    /// Ends a change. Returns the waiters that are to be woken, and how many permits go back.
    pub(crate) fn finish_change(&mut self) -> (Vec<WaiterId>, usize) {
        let told = self.waiters.iter_mut().filter(|(_, it)| it.unpolled && it.has_waker);
        let woken = told.map(|(&id, waiter)| {
            waiter.has_waker = false;
            id
        });
        let woken = woken.collect();
        let permits = self.permits.as_mut().map_or(0, |permits| {
            permits.available += permits.spare;
            std::mem::take(&mut permits.spare)
        });
        (woken, permits)
    }

    /// Records that a waiter was woken that need not have been.
    pub(crate) fn woken(&mut self, id: WaiterId) {
        self.waiters.get_mut(&id).expect("the waiter is known").has_waker = false;
    }

    pub(crate) fn lacks_permit(&self) -> bool {
        self.permits.as_ref().is_some_and(|permits| permits.wanted)
    }

    pub(crate) fn may_wait(&self) -> bool {
        self.permits.as_ref().is_some_and(|permits| permits.wanted && permits.paused == 0)
    }

    pub(crate) fn begin_poll(&mut self) {
        if let Some(permits) = &mut self.permits {
            if permits.paused > 0 {
                permits.paused -= 1;
                permits.reused = if permits.paused == 0 { 0 } else { permits.reused };
            }
        }
    }

    pub(crate) fn end_poll(&mut self) {
        if !self.lacks_permit() {
            (0..PAUSE).for_each(|_| self.begin_poll());
        }
    }

    /// Takes over a permit that was acquired.
    pub(crate) fn add_permit(&mut self) {
        self.free_permits(1);
    }
}

// === ends ===

impl Reference {
    pub(crate) fn finish(&mut self, index: usize, outcome: Outcome) {
        if self.stopped {
            self.begin();
        }
        match outcome {
            Outcome::Ok => self.ok += 1,
            Outcome::Failed => self.failed += 1,
            Outcome::Panicked | Outcome::Dropped => self.dropped += 1,
        }
        if self.running.iter().any(|child| child.index == index && !child.passed) {
            self.end_pass();
        }
        self.running.retain(|child| child.index != index);
        self.free_permits(1);
        self.freed |= !self.stopped;
        if self.blocked_children() > 0 {
            self.begin();
        }
    }

    pub(crate) fn finish_unfetched(&mut self, index: usize) {
        let child = self.running.iter_mut().find(|child| child.index == index);
        let child = child.expect("it runs");
        (child.daemon, child.unfetched) = (false, true);
        if !std::mem::replace(&mut child.passed, true) {
            self.end_pass();
        }
    }

    pub(crate) fn take_wakers(&mut self) -> Vec<WaiterId> {
        let all = self.waiters.iter_mut();
        let with_waker = all.filter(|(_, waiter)| waiter.has_waker);
        let taken = with_waker.map(|(&id, waiter)| {
            waiter.has_waker = false;
            id
        });
        taken.collect()
    }

    /// Drops the queue after a stop; returns the children that were in it.
    pub(crate) fn drop_queue(&mut self) -> Vec<Key> {
        let mut keys = Vec::new();
        self.queue.sort_by_key(Entry::order);
        for entry in std::mem::take(&mut self.queue) {
            if let What::Child { key, .. } = entry.what {
                self.dropped += 1;
                keys.push(key);
            }
        }
        self.queue_dropped = true;
        self.stop_waiters();
        let reserved = self.reserved();
        self.admitted.retain(|it| matches!(it.what, What::Child { .. }));
        self.free_permits(reserved);
        if let Some(passes) = &mut self.passes {
            passes.over += reserved + std::mem::take(&mut passes.spare).len();
        }
        keys
    }

    fn stop_waiters(&mut self) {
        for waiter in self.waiters.values_mut() {
            (waiter.stage, waiter.inside, waiter.unpolled) = (Stage::Stopped, None, false);
        }
    }

    fn children(&self) -> usize {
        self.occupied() - self.reserved()
    }

    /// Returns `true` if nothing runs and nothing waits.
    pub(crate) fn is_over(&self) -> bool {
        self.children() == 0 && (self.stopped || (self.queue.is_empty() && self.occupied() == 0))
    }

    pub(crate) fn try_resolve(&mut self) -> bool {
        if self.is_over() && !self.closed {
            (self.closed, self.finished) = (true, !self.stopped);
        }
        self.is_over()
    }

    /// Closes the group; returns the children that are not in the set: first those that have
    /// started.
    pub(crate) fn abort(&mut self) -> Vec<(Option<usize>, Key)> {
        self.closed = true;
        self.dropped += self.children();
        let kept = self.occupied();
        self.permits.iter_mut().for_each(|permits| permits.kept += kept);
        let mut keys: Vec<_> = self.started.drain(..).map(|(at, key)| (Some(at), key)).collect();
        self.running.clear();
        for Admitted { what, .. } in std::mem::take(&mut self.admitted) {
            match what {
                What::Child { key, .. } => keys.push((None, key)),
                What::Waiter(id) => {
                    let waiter = self.waiters.get_mut(&id).expect("the waiter is known");
                    (waiter.stage, waiter.unpolled) = (Stage::Stopped, false);
                }
            }
        }
        self.blocked = 0;
        keys
    }

    pub(crate) fn free_all_permits(&mut self) {
        if let Some(permits) = &mut self.permits {
            permits.spare += std::mem::take(&mut permits.kept);
        }
    }
}

// === numbers ===

impl Reference {
    pub(crate) fn stats(&self) -> Stats {
        let queued = self.queue.iter().filter(|it| matches!(it.what, What::Child { .. })).count();
        let Self { limit, ok, failed, dropped, .. } = *self;
        Stats { limit, queued, running: self.children(), ok, failed, dropped }
    }

    /// Returns `true` if the group's own waiter has its turn, and was not polled since.
    pub(crate) fn has_group_turn(&self) -> bool {
        self.waiters.values().any(|waiter| waiter.own && waiter.unpolled)
    }

    pub(crate) fn has_only_daemons(&self) -> bool {
        let daemons = self.running.iter().filter(|child| child.daemon).count();
        let is_daemon = |it: &Entry| matches!(it.what, What::Child { daemon: true, .. });
        self.occupied() - self.blocked == daemons
            && (daemons > 0 || !self.queue.is_empty())
            && self.queue.iter().all(is_daemon)
    }

    /// Checks what holds whenever the queue has been processed.
    pub(crate) fn check(&self) {
        if self.refuses() {
            return;
        }
        if let Some(head) = self.head() {
            let fits = self.fits(self.queue[head].weight);
            let wanted = self.passes.as_ref().is_some_and(|passes| passes.wanted);
            assert!(!fits || self.lacks_permit() || wanted, "an entry waits that could run");
        }
    }
}
