//! What a snapshot tells of the state.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::running::Running;
use super::starts::StartSlot;
use super::waiters::WaiterStage;
use super::{GroupPhase, State};
use crate::admission::inspector::Probed;
use crate::admission::queue::{Entry, Obstacle, Position, QueuedChild};
use crate::snapshot::{ChildSnapshot, ChildState, LISTED, Phase, Snapshot, WaitsFor};

impl GroupPhase {
    /// Returns what a snapshot tells of it.
    pub(crate) fn shown(self, stopped: bool, closing: bool) -> Phase {
        match self {
            Self::Resolved | Self::Ended => Phase::Ended,
            _ if stopped => Phase::Stopped,
            _ if closing => Phase::Closing,
            _ => Phase::Open,
        }
    }
}

impl State {
    /// Returns a snapshot, as far as the state knows. `known` are running children of which the
    /// caller knows more, by their indexes.
    pub(crate) fn inspect(&self, stopped: bool, known: &[(usize, ChildState)]) -> Snapshot {
        let mut snapshot = Snapshot::new(self.stats());
        snapshot.phase = self.lifecycle.phase.shown(stopped, self.lifecycle.closing);
        snapshot.room = usize::try_from(self.room.taken()).unwrap_or(usize::MAX);
        snapshot.holds = self.lifecycle.holds;
        if !self.lifecycle.is_resolved() {
            self.inspect_running(known, &mut snapshot);
            self.inspect_starting(&mut snapshot);
            if stopped {
                // They wait for nothing: the group drops them next.
                snapshot.omitted += self.queued;
            } else {
                self.inspect_queue(&mut snapshot);
                snapshot.keys = self.queue.inspect_keys(LISTED);
            }
        }
        snapshot
    }

    fn inspect_running(&self, known: &[(usize, ChildState)], snapshot: &mut Snapshot) {
        let first_started = self.starts.first_started();
        let (started, spawned) = self.starts.started_and_spawned();
        let started = (0..started).map(|at| {
            let is_spawned = at < spawned;
            (
                first_started + at,
                if is_spawned { ChildState::Spawned } else { ChildState::Unpolled },
            )
        });
        let is_known =
            |index: usize| known.binary_search_by_key(&index, |(known, _)| *known).is_ok();
        let started = started.filter(|(index, _)| !is_known(*index));
        let others = self.running.iter().map(|(index, _)| index);
        let others = others.filter(|index| *index < first_started && !is_known(*index));
        let others = others.map(|index| (index, ChildState::Running));
        let mut running: Vec<_> =
            known.iter().copied().chain(started).chain(others).take(LISTED).collect();
        running.sort_unstable_by_key(|(index, _)| *index);
        let children = running.iter().map(|&(index, state)| self.inspect_child(index, state));
        snapshot.children.extend(children);
        // Children that wait to start run, too. Those that have ended do not.
        let listed = running.len() - snapshot.completed();
        snapshot.omitted = self.running().saturating_sub(self.ended.count() + listed);
    }

    fn inspect_child(&self, index: usize, state: ChildState) -> ChildSnapshot {
        let probed = self.inspector.as_ref().and_then(|inspector| inspector.look(index));
        let state = match probed {
            Some(Probed { is_unfetched: true, .. }) => ChildState::Unfetched,
            Some(Probed { is_completed: true, .. }) => ChildState::Completed,
            Some(Probed { is_polled: true, .. }) => ChildState::Polled,
            // Of one that was spawned it is not known whether it was woken.
            Some(it) if state == ChildState::Running && !self.spawns => match it {
                Probed { polls: 0, .. } => ChildState::Unpolled,
                Probed { is_woken: true, .. } => ChildState::Woken,
                _ => ChildState::Waiting,
            },
            Some(_) if state == ChildState::Running => ChildState::Spawned,
            _ => state,
        };
        let polls = probed.map(|it| it.polls);
        let mut child = ChildSnapshot { index: Some(index), polls, ..ChildSnapshot::plain(state) };
        if let Some(Running { weight, priority, daemon, key, name, .. }) = self.running.get(index) {
            (child.weight, child.priority, child.daemon) = (*weight, *priority, *daemon);
            (child.key, child.name) = (key.clone(), name.clone());
        }
        child
    }

    /// Adds what has room and has not started.
    fn inspect_starting(&self, snapshot: &mut Snapshot) {
        let starting = self.starts.iter().map(|start| match start {
            StartSlot::Child(child, _) => of_queued(child, ChildState::Blocked),
            StartSlot::Reserved(key) => self.inspect_waiter(*key, ChildState::Granted),
        });
        // A slot keeps the room of a plain child.
        let slots = core::iter::repeat_with(|| ChildSnapshot::plain(ChildState::Reserved));
        let before = snapshot.children.len();
        let left = LISTED.saturating_sub(before);
        snapshot.children.extend(starting.chain(slots.take(self.detached)).take(left));
        let listed = &snapshot.children[before..];
        // These count as running; what is reserved does not.
        let children = listed.iter().filter(|it| it.state == ChildState::Blocked).count();
        let reserved = self.reserved.saturating_sub(listed.len() - children);
        snapshot.omitted = snapshot.omitted.saturating_sub(children) + reserved;
    }

    fn inspect_waiter(&self, key: usize, state: ChildState) -> ChildSnapshot {
        let mut child = ChildSnapshot::plain(state);
        if let Some(waiter) = self.waiters.get(key) {
            child.weight = waiter.weight;
            (child.key, child.name) = (waiter.key.clone(), waiter.name.clone());
            let (WaiterStage::Waiting(position)
            | WaiterStage::MustQueue(position)
            | WaiterStage::Reserved { position, .. }) = waiter.stage
            else {
                return child;
            };
            child.priority = position.priority;
        }
        child
    }

    /// Adds what waits, in the order of admission.
    fn inspect_queue(&self, snapshot: &mut Snapshot) {
        let left = LISTED - snapshot.children.len().min(LISTED);
        let entries: Vec<(Position, &Entry, Obstacle)> = self.queue.inspect(left);
        let listed = entries.len();
        let is_waiter = |entry: &Entry| matches!(entry, Entry::Waiter { .. });
        let listed_waiters = entries.iter().filter(|(_, entry, _)| is_waiter(entry)).count();
        // Those that wait only for the entries before them come after the first of them.
        let mut is_head = true;
        for (behind, (_, entry, obstacle)) in entries.into_iter().enumerate() {
            let waits_for = match obstacle {
                Obstacle::Key => WaitsFor::Key,
                Obstacle::Feeds => WaitsFor::Keys,
                Obstacle::Nothing if core::mem::take(&mut is_head) => self.inspect_head(entry),
                Obstacle::Nothing => WaitsFor::Turn,
            };
            let child = match entry {
                Entry::Child(child) => of_queued(child, ChildState::Queued { behind, waits_for }),
                Entry::Waiter { key, .. } => {
                    let waiter = self.waiters.get(*key);
                    let state = match waiter.map(|waiter| (waiter.stage, waiter.detached)) {
                        // It may put its child into the queue, and has been told.
                        Some((WaiterStage::MustQueue(_), false)) => ChildState::Granted,
                        _ => {
                            let inside = waiter.and_then(|waiter| waiter.inside);
                            ChildState::Offered { behind, waits_for, inside }
                        }
                    };
                    self.inspect_waiter(*key, state)
                }
            };
            snapshot.children.push(child);
        }
        let waiters = if self.lifecycle.closing {
            // Those that are left have their turn, and are the first.
            listed_waiters
        } else {
            self.waiters.len() - self.reserved
        };
        snapshot.omitted += (self.queued + waiters).saturating_sub(listed);
    }

    fn inspect_head(&self, head: &Entry) -> WaitsFor {
        if !self.room.fits(head.weight()) {
            WaitsFor::Room
        } else if self.room.lacks_pass() {
            WaitsFor::Gate
        } else if self.room.lacks_permit() {
            WaitsFor::Permit
        } else {
            WaitsFor::Turn
        }
    }
}

/// Returns what is known of a child that has not started.
fn of_queued(child: &QueuedChild, state: ChildState) -> ChildSnapshot {
    let request = child.request();
    ChildSnapshot {
        name: request.name.map(Arc::from),
        key: request.key.cloned(),
        weight: request.weight,
        priority: request.priority,
        daemon: child.is_daemon(),
        ..ChildSnapshot::plain(state)
    }
}
