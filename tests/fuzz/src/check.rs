//! What holds in every world.
//!
//! **At any time**: no child is polled after its end or without having been woken, and each is
//! dropped once (in `kid.rs`); no more room is taken than there is ([`Env::check_limits`]); a child
//! that has ended is dropped before the poll that ended it returns ([`Env::check`]).
//!
//! **When no task is woken** ([`Env::check_at_rest`]): no child was woken and not polled, no group
//! waits that could go on, and no task waits for what has come.
//!
//! **At the end** ([`Env::check_end`]): all tasks have ended, all children are dropped, and each
//! child is counted once.

use errgroup::Lost;
use errgroup::snapshot::{ChildSnapshot, ChildState};

use crate::env::{Doing, End, Env, KidState, Member, Owner, What};

impl KidState {
    /// It runs: it was polled, and has neither ended nor been dropped.
    fn runs(&self) -> bool {
        self.started.get() && self.ended.get().is_none() && !self.dropped.get()
    }
}

impl Env {
    /// Checks, when a child is polled for the first time, that there is room for it.
    pub fn check_limits(&self, id: usize) {
        let kid = self.kid(id);
        let member = self.group(kid.group);
        let kids = member.started.borrow();
        let others = kids.values().filter(|other| other.runs());
        let running = others.chain([&kid]);
        if let Some(limit) = member.limit.get() {
            let weights: Vec<_> =
                running.clone().map(|kid| kid.weight).filter(|&w| w > 0).collect();
            let taken: usize = weights.iter().sum();
            if kid.weight > 0 && taken > limit && weights.len() > 1 {
                self.fail(|| format!("child {id} runs, {weights:?} in a limit of {limit}"));
            }
        }
        if let (Some(limit), Some(key)) = (member.key_limit.get(), kid.key) {
            let weights: Vec<_> = running
                .filter(|other| other.key == Some(key))
                .map(|kid| kid.weight)
                .filter(|&weight| weight > 0)
                .collect();
            let taken: usize = weights.iter().sum();
            if kid.weight > 0 && taken > limit && weights.len() > 1 {
                self.fail(|| format!("child {id} runs, {weights:?} in its key's {limit}"));
            }
        }
    }

    /// Checks what holds between two polls.
    pub fn check(&self) {
        if self.depth.get() > 0 || self.failure().is_some() {
            return;
        }
        if let Some(id) = self.ended.borrow().first() {
            self.fail(|| format!("child {id} has ended and is not dropped"));
        }
    }

    /// Returns `true` if the owner's polls reach this group.
    fn is_driven(&self, member: &Member) -> bool {
        let driven = match member.owner {
            Owner::Task(_) => true,
            Owner::Kid(id) => self.is_reached(&self.kid(id)),
        };
        driven && !member.gone.get() && member.doing.get() != Doing::Nothing
    }

    fn is_reached(&self, kid: &KidState) -> bool {
        let member = self.group(kid.group);
        kid.runs() && (member.spawned || self.is_driven(&member))
    }

    /// Checks what holds when no task is woken.
    pub fn check_at_rest(&self) {
        self.check();
        if self.depth.get() > 0 || self.failure().is_some() {
            return;
        }
        for (id, kid) in &*self.alive.borrow() {
            if kid.woken.get() && self.is_reached(kid) {
                self.fail(|| format!("child {id} was woken and is not polled"));
            }
            let group = self.group(kid.group);
            if group.gone.get() {
                self.fail(|| format!("child {id} outlives group {}", kid.group));
            }
            if kid.aborted.get() && self.is_driven(&group) {
                self.fail(|| format!("child {id} was aborted in the queue and is not dropped"));
            }
        }
        for at in 0..self.groups.borrow().len() {
            let member = self.group(at);
            if self.is_driven(&member) {
                self.check_driven(at, &member);
            }
        }
        for id in 0..self.tasks.borrow().len() {
            let task = self.task(id);
            if !task.done.get() && self.is_late(&task.what) {
                self.fail(|| format!("task {id} sleeps: {:?}", task.what));
            }
        }
    }

    /// Returns `true` if what a task waits for has come.
    fn is_late(&self, what: &What) -> bool {
        match what {
            // What had room when the group was closed goes on, and a lower limit or a slot may
            // delay it.
            What::Go(at) | What::Feed(at) | What::Reserve(at) => {
                self.handle(*at).is_some_and(|handle| {
                    let stats = handle.stats();
                    let slots = self.slots.borrow().iter().any(|(group, _)| group == at);
                    let idle =
                        stats.queued + stats.running == 0 && stats.limit != Some(0) && !slots;
                    handle.is_stopped() || (handle.is_closing() && idle)
                })
            }
            What::Closed(at) => self.group(*at).gone.get(),
            What::Cancelled(token) => token.is_cancelled(),
            What::Join(kid) => self.kid(*kid).dropped.get(),
            What::Permit => self.free() > 0 && self.all_are_polled(),
            What::Owner | What::Executor => false,
        }
    }

    /// Returns `true` if no group keeps a permit back for its owner's next poll.
    fn all_are_polled(&self) -> bool {
        let groups = self.groups.borrow();
        groups.iter().all(|group| !group.shares.get() || group.gone.get() || self.is_driven(group))
    }

    fn check_driven(&self, at: usize, member: &Member) {
        let Some(handle) = self.handle(at) else {
            return;
        };
        let stats = handle.stats();
        let (stopped, closing) = (handle.is_stopped(), handle.is_closing());
        let holds = self.holds.borrow().iter().filter(|(group, _)| *group == at).count();
        let slots = self.slots.borrow().iter().filter(|(group, _)| *group == at).count();
        let waiting = member.waiting.get();
        // A waiter that had its turn at the close may have lost it to a limit of 0, which pauses
        // it.
        let ends_by_close = closing && (waiting == 0 || stats.limit != Some(0));
        if member.doing.get() == Doing::Polls
            && !member.body_runs.get()
            && stats.running + stats.queued == 0
            && (stopped
                || slots == 0 && (ends_by_close || holds + waiting + member.feeds.get() == 0))
        {
            self.fail(|| format!("group {at} has nothing left and does not end: {stats:?}"));
        }
        let kids = member.started.borrow();
        let runs = kids.values().filter(|kid| kid.runs()).count();
        if !member.spawned && !member.streams.get() && runs != stats.running {
            self.fail(|| format!("{runs} children of group {at} run: {stats:?}"));
        }
        for (id, kid) in kids.iter().filter(|(_, kid)| kid.runs()) {
            if stopped && (kid.until_stop || member.drops.get()) {
                self.fail(|| format!("child {id} has not ended with the stop: {stats:?}"));
            }
        }
        let (futures, guards) = (member.gate_futures.get(), member.guards.get());
        if stopped && (futures > 0 || guards > member.gates.get() * stats.running) {
            self.fail(|| format!("{futures} futures, {guards} guards after the stop: {stats:?}"));
        }
        if !member.spawned {
            // Those of running children and of reservations; and those that the head of the queue
            // has while it waits for another gate, or for a permit.
            let reserved = |child: &ChildSnapshot| {
                matches!(child.state, ChildState::Granted | ChildState::Reserved)
            };
            let snapshot = handle.snapshot();
            let reserved = snapshot.children.iter().filter(|it| reserved(it)).count();
            let in_between = usize::from(futures > 0 || member.shares.get());
            let most = stats.running + reserved + in_between + snapshot.omitted;
            if guards > member.gates.get() * most {
                self.fail(|| format!("group {at} keeps {guards} guards: {stats:?} {reserved}"));
            }
        }
        let has_permit = !member.shares.get() || self.free() > 0 && self.all_are_polled();
        if stopped || closing && stats.queued == 0 || member.gated.get() || !has_permit {
            return;
        }
        if stats.queued + waiting == 0 || slots > 0 {
            return;
        }
        let room = match stats.limit {
            None => !member.mixed.get() || stats.running == 0,
            Some(0) => false,
            Some(limit) => stats.running == 0 || (!member.mixed.get() && stats.running < limit),
        };
        if room {
            self.fail(|| format!("group {at} has room, {waiting} wait at it: {stats:?}"));
        }
    }

    /// Checks that a group whose `closed` has resolved is gone, with its children.
    pub fn check_closed(&self, at: usize) {
        let member = self.group(at);
        let kids = member.started.borrow();
        let left = kids.values().filter(|kid| kid.runs()).count();
        if left > 0 && !member.spawned {
            self.fail(|| format!("group {at} is closed, and {left} children run"));
        }
    }

    pub fn check_join(&self, id: usize, answer: Result<(), Lost>) {
        let end = self.kid(id).ended.get();
        let agrees = match answer {
            Ok(()) => end == Some(End::Ok),
            Err(Lost::Failed) => end == Some(End::Failed),
            Err(_) => true,
        };
        if !agrees {
            self.fail(|| format!("child {id} has ended with {end:?}, its handle says {answer:?}"));
        }
    }

    pub fn check_end(&self) {
        for (id, kid) in self.kids.borrow().iter().enumerate() {
            if !kid.dropped.get() {
                self.fail(|| format!("child {id} is never dropped"));
            }
        }
        for at in 0..self.groups.borrow().len() {
            let (member, Some(handle)) = (self.group(at), self.handle(at)) else {
                continue;
            };
            let stats = handle.stats();
            let count = |end| {
                let kids = self.kids.borrow();
                kids.iter().filter(|kid| kid.group == at && kid.ended.get() == Some(end)).count()
            };
            if !handle.is_stopped() {
                self.fail(|| format!("group {at} is gone, its token is not cancelled"));
            }
            if stats.queued + stats.running > 0 {
                self.fail(|| format!("group {at} is gone: {stats:?}"));
            }
            if stats.ok > count(End::Ok) || stats.failed > count(End::Failed) {
                self.fail(|| format!("group {at} counts results that there are not: {stats:?}"));
            }
            let (made, given_back) = (member.made.get(), member.given_back.get());
            let accepted = stats.ok + stats.failed + stats.dropped;
            if !member.unsure.get() && !self.boomed.get() && accepted != made - given_back {
                self.fail(|| {
                    format!("group {at}: {made} made, {given_back} given back: {stats:?}")
                });
            }
        }
    }
}
