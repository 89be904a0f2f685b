//! Tests of the state, without a group.

use super::waiters::WaiterStage;
use super::*;
use crate::admission::permits::Permits;
use crate::util::panic::catch;

const WEIGHT_ONE: Request<'_> = Request::PLAIN;

fn child(key: ChildKey) -> QueuedChild {
    QueuedChild::plain(key)
}

fn heavy(key: ChildKey, weight: usize) -> QueuedChild {
    let options = ChildOptions::take(&mut Options { weight, ..Options::default() }, false);
    QueuedChild { options, ..child(key) }
}

fn daemon(key: ChildKey) -> QueuedChild {
    let options = ChildOptions::take(&mut Options { daemon: true, ..Options::default() }, false);
    QueuedChild { options, ..child(key) }
}

fn limited(limit: usize) -> State {
    let mut state = State::default();
    state.start_with_limit(limit);
    state
}

/// Accepts a child as `queue` does.
fn queue(state: &mut State, child: QueuedChild) {
    if state.try_take_room(child.request()) {
        state.admit(child);
    } else {
        state.enqueue(child);
    }
    process(state);
}

/// Registers a waiter of the group's own task, which needs no waker.
fn wait(state: &mut State, weight: usize) -> WaiterKey {
    let key = state.wait(Request { weight, ..Request::PLAIN }, &mut poller());
    process(state);
    key.expect("the group's own waiter needs no waker")
}

fn poll(state: &mut State, key: WaiterKey) -> Acquire {
    state.poll_waiter(key, &mut poller())
}

fn poller() -> WaiterPoll<'static> {
    WaiterPoll { caller: Caller::Group, task: Waker::noop(), clone: None, group: 0 }
}

fn process(state: &mut State) {
    state.process_queue(false, &mut Effects::default());
    check_invariants(state, false);
}

fn process_stopped(state: &mut State) {
    state.process_queue(true, &mut Effects::default());
    check_invariants(state, true);
}

fn finish(state: &mut State, index: usize) {
    let _ = state.finish(index, Outcome::Ok, false);
    process(state);
}

fn started(state: &mut State) -> Vec<ChildKey> {
    core::iter::from_fn(|| state.starts.pop_started()).map(|(_, key)| key).collect()
}

/// Checks the invariants in the head of the module; the queue has just been processed.
pub(crate) fn check_invariants(state: &mut State, stopped: bool) {
    let admits = state.lifecycle.admits(stopped);
    let head = state.queue.first().map(|(_, entry)| entry.weight());
    let fits = admits && head.is_some_and(|weight| state.room.fits(weight));
    let lacks = state.room.lacks_permit() || state.asked().is_some();
    assert_eq!(fits, lacks, "the head fits if and only if it lacks a permit or a pass");
    assert!(matches!(state.starts.iter().next(), None | Some(StartSlot::Reserved(_))));

    // Each waiter is in the queue, or in `starts`, or in neither.
    let (mut queued, mut queued_waiters) = (0, Vec::new());
    let in_queue =
        |it: &&Waiter| matches!(it.stage, WaiterStage::Waiting(_) | WaiterStage::MustQueue(_));
    let len = state.queued + state.waiters.iter().filter(in_queue).count();
    state.queue.check(len, |position, entry| match entry {
        Entry::Child(_) => queued += 1,
        Entry::Waiter { key, weight, .. } => queued_waiters.push((position, *key, *weight)),
    });
    assert!(queued <= state.queued);
    let (mut extra, mut reserved, mut must_queue) = (0, 0, false);
    let mut inside = alloc::collections::BTreeMap::<usize, usize>::new();
    let (mut waiting, mut detached) = (0, 0);
    let mut keys = (0..).filter_map(|key| Some((key, state.waiters.get(key)?)));
    for (key, waiter) in keys.by_ref().take(state.waiters.len()) {
        match waiter.stage {
            WaiterStage::Waiting(position) | WaiterStage::MustQueue(position) => {
                assert!(queued_waiters.contains(&(position, key, waiter.weight)));
                waiting += 1;
            }
            WaiterStage::Reserved { slot, .. } => {
                if let Some(slot) = slot {
                    let start = state.starts.get(slot);
                    assert!(matches!(start, Some(StartSlot::Reserved(other)) if *other == key));
                }
                reserved += 1;
                detached += usize::from(slot.is_none());
                extra += waiter.weight.saturating_sub(1) as u128;
            }
            WaiterStage::Stopped => {}
        }
        must_queue |= matches!(waiter.stage, WaiterStage::MustQueue(_));
        if let Some(child) = waiter.inside {
            assert!(matches!(waiter.stage, WaiterStage::Waiting(_)), "it blocks its child no more");
            *inside.entry(child).or_default() += 1;
        }
    }
    assert_eq!(waiting, queued_waiters.len());
    assert_eq!((state.reserved, state.detached), (reserved, detached));
    let slots = state.starts.iter().filter(|it| matches!(it, StartSlot::Reserved(_)));
    assert_eq!(slots.count(), reserved - detached);

    if state.lifecycle.is_resolved() {
        assert_eq!((state.room.occupied(), reserved, head), (0, 0, None), "the group is closed");
        return;
    }
    // The room that is taken.
    let mut daemons = 0;
    for index in 0..state.starts.count() {
        if let Some(child) = state.running.get(index) {
            extra += child.weight.saturating_sub(1) as u128;
            daemons += usize::from(child.daemon);
        }
    }
    for start in state.starts.iter() {
        if let StartSlot::Child(child, _) = start {
            extra += child.request().weight.saturating_sub(1) as u128;
        }
    }
    assert_eq!((state.room.extra(), state.running.daemons()), (extra, daemons));
    assert!(reserved <= state.room.occupied());
    assert!(state.blocked_results + daemons <= state.running());
    if let Some(permits) = &state.room.permits {
        let (held, spare) = permits.held_and_spare();
        assert_eq!(held - spare, state.room.occupied(), "each child that has room has a permit");
    }

    // The waiters inside children.
    assert!(state.nested.blocked_children() <= inside.len());
    for (&child, &count) in &inside {
        assert!(state.nested.count(child).is_none_or(|it| it == count));
    }
    let blocked = state.nested.blocked_children();
    let stuck = blocked > 0 && blocked + daemons == state.running() - state.blocked_results;
    assert!(reserved > 0 || !stuck || must_queue, "waiting would never end");
}

#[test]
fn children_start_in_the_order_in_which_they_come_and_never_above_the_limit() {
    let mut state = limited(2);
    (0..5).for_each(|key| queue(&mut state, child(key)));
    assert_eq!(started(&mut state), [0, 1]);
    assert_eq!((state.stats().running, state.stats().queued), (2, 3));
    finish(&mut state, 1);
    assert_eq!(started(&mut state), [2]);
    finish(&mut state, 0);
    finish(&mut state, 2);
    assert_eq!(started(&mut state), [3, 4]);
}

#[test]
fn a_heavy_child_keeps_the_room_that_becomes_free_until_it_is_enough() {
    let mut state = limited(3);
    (0..3).for_each(|key| queue(&mut state, child(key)));
    queue(&mut state, heavy(3, 2));
    queue(&mut state, child(4));
    started(&mut state);
    finish(&mut state, 0);
    assert_eq!(started(&mut state), [], "the light child does not overtake");
    finish(&mut state, 1);
    assert_eq!(started(&mut state), [3]);
    finish(&mut state, 2);
    assert_eq!(started(&mut state), [4]);
}

#[test]
fn a_child_heavier_than_the_limit_runs_alone() {
    let mut state = limited(2);
    queue(&mut state, heavy(0, 9));
    queue(&mut state, child(1));
    assert_eq!(started(&mut state), [0]);
    finish(&mut state, 0);
    assert_eq!(started(&mut state), [1]);
}

#[test]
fn a_waiter_gets_its_turn_and_delivers_its_child() {
    let mut state = limited(1);
    queue(&mut state, child(0));
    let key = wait(&mut state, 1);
    assert_eq!(poll(&mut state, key), Acquire::Pending);
    finish(&mut state, 0);
    assert!(state.group_turn);
    assert_eq!(poll(&mut state, key), Acquire::Ready);
    assert!(!state.group_turn);
    state.fill(key, child(1), &mut Effects::default());
    process(&mut state);
    assert_eq!(started(&mut state), [0, 1]);
}

#[test]
fn a_child_behind_a_reservation_starts_after_it() {
    let mut state = limited(1);
    queue(&mut state, child(0));
    let key = wait(&mut state, 1);
    queue(&mut state, child(2));
    state.set_limit(Some(3));
    process(&mut state);
    assert_eq!(started(&mut state), [0]);
    assert_eq!(poll(&mut state, key), Acquire::Ready);
    state.fill(key, child(1), &mut Effects::default());
    process(&mut state);
    assert_eq!(started(&mut state), [1, 2]);
}

#[test]
fn a_child_that_needs_more_than_was_reserved_is_queued_at_the_waiters_position() {
    let mut state = limited(2);
    queue(&mut state, child(0));
    let key =
        state.try_take_room(WEIGHT_ONE).then(|| state.reserve_newcomer(WEIGHT_ONE, Caller::Group));
    queue(&mut state, child(1));
    state.fill(key.unwrap(), heavy(2, 2), &mut Effects::default());
    process(&mut state);
    assert_eq!(state.stats().queued, 2);
    finish(&mut state, 0);
    assert_eq!(started(&mut state), [0, 2]);
}

#[test]
fn an_abandoned_waiter_frees_its_place_in_each_stage() {
    for stage in 0..3 {
        let mut state = limited(1);
        queue(&mut state, child(0));
        let key = wait(&mut state, 1);
        queue(&mut state, child(1));
        if stage > 0 {
            finish(&mut state, 0);
        }
        if stage > 1 {
            assert_eq!(poll(&mut state, key), Acquire::Ready);
        }
        state.abandon(key, &mut Effects::default());
        process(&mut state);
        if stage == 0 {
            finish(&mut state, 0);
        }
        assert_eq!(started(&mut state), [0, 1]);
        assert!(state.waiters.is_empty());
    }
}

#[test]
fn a_lowered_limit_revokes_unclaimed_reservations_newest_first() {
    let mut state = limited(0);
    let keys: Vec<_> = (0..3).map(|_| wait(&mut state, 1)).collect();
    state.set_limit(Some(3));
    process(&mut state);
    assert_eq!(state.reserved, 3);
    assert_eq!(poll(&mut state, keys[0]), Acquire::Ready);
    state.set_limit(Some(1));
    process(&mut state);
    assert_eq!(state.reserved, 1);
    assert_eq!(poll(&mut state, keys[1]), Acquire::Pending);
    assert!(!state.group_turn, "a turn that was revoked is no work");
    state.set_limit(None);
    process(&mut state);
    assert!(keys.iter().all(|&key| poll(&mut state, key) == Acquire::Ready));
}

#[test]
fn the_oldest_nested_waiter_queues_its_child_if_every_running_child_waits() {
    let mut state = limited(2);
    queue(&mut state, child(0));
    queue(&mut state, child(1));
    started(&mut state);
    let keys = [wait(&mut state, 1), wait(&mut state, 1)];
    state.set_inside(keys[0], Some(0));
    process(&mut state);
    assert_eq!(poll(&mut state, keys[0]), Acquire::Pending);
    state.set_inside(keys[0], Some(0));
    state.set_inside(keys[1], Some(1));
    process(&mut state);
    assert_eq!(poll(&mut state, keys[0]), Acquire::Ready);
    state.fill(keys[0], child(2), &mut Effects::default());
    process(&mut state);
    assert_eq!(state.stats().queued, 1);
    finish(&mut state, 0);
    assert_eq!(started(&mut state), [2]);
}

#[test]
fn only_daemons_hold_nothing_open() {
    let mut state = limited(1);
    queue(&mut state, daemon(0));
    queue(&mut state, daemon(1));
    assert!(state.has_only_daemons());
    queue(&mut state, child(2));
    assert!(!state.has_only_daemons());
}

#[test]
fn a_stop_drops_the_queue_and_takes_reservations_back() {
    let mut state = limited(2);
    queue(&mut state, child(0));
    let key = wait(&mut state, 2);
    queue(&mut state, child(1));
    let mut keys = Vec::new();
    state.stop(&mut keys);
    process_stopped(&mut state);
    assert_eq!(keys, [1]);
    assert_eq!(poll(&mut state, key), Acquire::Stopped);
    assert!(!state.has_turn(key));
    assert_eq!((state.stats().queued, state.stats().dropped), (0, 1));
    assert!(!state.try_resolve(true), "a child runs");
    state.finish(0, Outcome::Ok, true);
    assert!(state.try_resolve(true));
}

#[test]
fn room_that_was_freed_before_a_stop_goes_to_the_queue() {
    let mut state = limited(1);
    queue(&mut state, child(0));
    queue(&mut state, child(1));
    queue(&mut state, child(2));
    state.finish(0, Outcome::Ok, false);
    state.finish(1, Outcome::Failed, true);
    assert_eq!(started(&mut state), [0, 1]);
    assert_eq!(state.stats().queued, 1);
}

#[test]
fn an_aborted_group_gives_out_every_child_that_is_not_in_its_set() {
    let mut state = limited(1);
    queue(&mut state, child(0));
    let key = wait(&mut state, 1);
    queue(&mut state, child(1));
    state.set_limit(Some(9));
    process(&mut state);
    let mut keys = Vec::new();
    state.abort(&mut keys);
    let keys: Vec<_> = keys.into_iter().map(|(_, key)| key).collect();
    assert_eq!(keys, [0, 1]);
    assert_eq!(poll(&mut state, key), Acquire::Stopped);
    assert_eq!((state.stats().running, state.stats().dropped), (0, 2));
}

#[test]
fn permits_of_ended_children_are_used_again_a_bounded_number_of_times() {
    let semaphore = Arc::new(async_lock::Semaphore::new(1));
    let mut permits = Permits::new(Arc::clone(&semaphore));
    assert!(permits.try_take());
    let mut reused = 0;
    loop {
        permits.free(1);
        if !permits.try_take() {
            break;
        }
        reused += 1;
    }
    assert_eq!(reused, 32);
    assert_eq!(permits.take_spare(), 1);
    semaphore.add_permits(1);
    assert!(!permits.try_take(), "it is the turn of other groups");
    permits.begin_poll();
    assert!(!permits.try_take(), "the task may poll this group first");
    permits.begin_poll();
    assert!(permits.try_take());
}

#[test]
fn a_child_of_a_waiter_that_is_gone_is_queued_and_not_lost() {
    let mut state = limited(0);
    let lost = catch(|| state.fill(7, child(3), &mut Effects::default()));
    if cfg!(debug_assertions) {
        assert!(lost.is_err(), "it is a bug, and said so");
    } else {
        assert_eq!(state.stats().queued, 1);
    }
}

/// Registers a waiter of a handle, with a waker that counts.
fn wait_at_handle(state: &mut State, request: Request<'_>, task: &Waker) -> WaiterKey {
    let key = state.wait(request, &mut handle_poller(task));
    process(state);
    key.expect("the poller has a clone of the waker")
}

fn handle_poller(task: &Waker) -> WaiterPoll<'_> {
    WaiterPoll { caller: Caller::Handle, task, clone: Some(task.clone()), group: 0 }
}

#[derive(Default)]
struct CountingWaker(core::sync::atomic::AtomicUsize);

impl alloc::task::Wake for CountingWaker {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, core::sync::atomic::Ordering::Relaxed);
    }
}

impl CountingWaker {
    fn new() -> (Arc<Self>, Waker) {
        let counter = Arc::<Self>::default();
        (Arc::clone(&counter), Waker::from(counter))
    }

    fn count(&self) -> usize {
        self.0.load(core::sync::atomic::Ordering::Relaxed)
    }
}

/// Makes a change, and wakes the waiters that are to be woken. Returns `true` if the group's task
/// is to be notified.
fn change(state: &mut State, change: impl FnOnce(&mut State, &mut Effects)) -> bool {
    let mut effects = Effects::default();
    change(state, &mut effects);
    state.process_queue(false, &mut effects);
    state.take_to_wake(&mut effects);
    check_invariants(state, false);
    let Wakers { first, more } = core::mem::take(&mut effects.wake);
    first.into_iter().chain(more).for_each(Waker::wake);
    effects.notify
}

fn with_permits(permits: usize) -> (State, Arc<async_lock::Semaphore>) {
    let semaphore = Arc::new(async_lock::Semaphore::new(permits));
    let mut state = State::default();
    state.room.permits = Some(Permits::new(Arc::clone(&semaphore)));
    (state, semaphore)
}

/// Gives the spare permits back to the semaphore.
fn give_back(state: &mut State, semaphore: &async_lock::Semaphore) -> usize {
    let spare = state.room.permits.as_mut().map_or(0, Permits::take_spare);
    semaphore.add_permits(spare);
    spare
}

#[test]
fn a_plain_child_starts_at_once_unless_that_concerns_others() {
    let mut state = limited(3);
    assert_eq!(state.try_start(true), None, "the group has stopped");
    assert_eq!(state.try_start(false), Some(0));
    queue(&mut state, child(7));
    assert_eq!(state.try_start(false), None, "another child has started, and goes first");
    assert_eq!(started(&mut state), [7]);
    assert_eq!(state.try_start(false), Some(2));
    assert_eq!(state.try_start(false), None, "there is no room");
    assert!(!state.finish(0, Outcome::Ok, false), "nothing waits for the room");
    assert_eq!(state.try_start(false), Some(3));
    queue(&mut state, child(8));
    assert_eq!(state.try_start(false), None);
    assert!(state.finish(1, Outcome::Ok, false), "a child waits for the room");
    assert_eq!(state.try_start(false), None, "the room was not given to the queue yet");
    process(&mut state);
    assert_eq!(started(&mut state), [8]);
    assert_eq!(state.stats().running, 3);
}

#[test]
fn of_the_children_that_wait_a_higher_priority_starts_first() {
    let mut state = limited(1);
    queue(&mut state, child(0));
    for (key, priority) in [(1, 0), (2, 3), (3, -1), (4, 3)] {
        let options = Options { priority, ..Options::default() };
        let options = ChildOptions::take(&mut { options }, false);
        queue(&mut state, QueuedChild { options, ..child(key) });
    }
    let order: Vec<_> = (0..5)
        .flat_map(|index| {
            let keys = started(&mut state);
            finish(&mut state, index);
            keys
        })
        .collect();
    assert_eq!(order, [0, 2, 4, 1, 3]);
}

#[test]
fn a_newcomer_of_a_higher_priority_takes_room_that_the_head_can_not_use() {
    let mut state = limited(2);
    queue(&mut state, child(0));
    queue(&mut state, heavy(1, 2));
    assert!(!state.try_take_room(Request::PLAIN), "an equal does not overtake");
    assert!(state.try_take_room(Request { weight: 1, priority: 1, ..Request::PLAIN }));
}

#[test]
fn a_waiter_at_a_handle_is_woken_once_when_it_gets_its_turn() {
    let mut state = limited(1);
    queue(&mut state, child(0));
    started(&mut state);
    let (count, waker) = CountingWaker::new();
    let key = wait_at_handle(&mut state, Request::PLAIN, &waker);
    change(&mut state, |state, _| state.set_limit(Some(1)));
    assert_eq!(count.count(), 0, "no room has come");
    change(&mut state, |state, _| _ = state.finish(0, Outcome::Ok, false));
    change(&mut state, |_, _| ());
    assert_eq!(count.count(), 1);
    assert!(!state.group_turn, "it is not the group's own");
    assert_eq!(state.poll_waiter(key, &mut handle_poller(&waker)), Acquire::Ready);
}

#[test]
fn a_waiter_that_was_polled_after_its_turn_came_is_not_woken() {
    let mut state = limited(0);
    let (count, waker) = CountingWaker::new();
    let key = wait_at_handle(&mut state, Request::PLAIN, &waker);
    state.set_limit(Some(1));
    state.process_queue(false, &mut Effects::default());
    assert_eq!(state.poll_waiter(key, &mut handle_poller(&waker)), Acquire::Ready);
    change(&mut state, |_, _| ());
    assert_eq!(count.count(), 0);
}

#[test]
fn a_waiter_of_a_handle_needs_a_clone_of_each_new_waker() {
    let mut state = limited(0);
    let (old, new) = (CountingWaker::new(), CountingWaker::new());
    let mut without = WaiterPoll { clone: None, ..handle_poller(&old.1) };
    assert_eq!(state.wait(Request::PLAIN, &mut without), None);
    let key = wait_at_handle(&mut state, Request::PLAIN, &old.1);
    assert_eq!(state.poll_waiter(key, &mut without), Acquire::Pending, "its waker is known");
    let mut without = WaiterPoll { clone: None, ..handle_poller(&new.1) };
    assert_eq!(state.poll_waiter(key, &mut without), Acquire::NeedsWaker);
    let mut poller = handle_poller(&new.1);
    assert_eq!(state.poll_waiter(key, &mut poller), Acquire::Pending);
    assert!(poller.clone.is_some_and(|clone| clone.will_wake(&old.1)), "the old one comes back");
    change(&mut state, |state, _| state.set_limit(None));
    assert_eq!((old.0.count(), new.0.count()), (0, 1));
}

#[test]
fn a_stop_wakes_all_waiters_and_none_of_them_twice() {
    let mut state = limited(0);
    let (count, waker) = CountingWaker::new();
    for _ in 0..3 {
        wait_at_handle(&mut state, Request::PLAIN, &waker);
    }
    for _ in 0..2 {
        let mut effects = Effects::default();
        state.take_wakers(&mut effects);
        let Wakers { first, more } = effects.wake;
        first.into_iter().chain(more).for_each(Waker::wake);
    }
    assert_eq!(count.count(), 3);
}

#[test]
fn a_waiter_that_is_revoked_returns_before_those_that_came_later() {
    let mut state = limited(0);
    let keys = [wait(&mut state, 1), wait(&mut state, 1)];
    queue(&mut state, child(0));
    state.set_limit(Some(2));
    process(&mut state);
    state.set_limit(Some(0));
    process(&mut state);
    assert_eq!((state.reserved, state.room.occupied()), (0, 0));
    state.set_limit(Some(1));
    process(&mut state);
    assert!(state.has_turn(keys[0]) && !state.has_turn(keys[1]));
}

#[test]
fn a_lower_limit_takes_reservations_back_step_by_step_and_none_is_claimed_before_the_last() {
    let mut state = limited(0);
    let keys: Vec<_> = (0..200).map(|_| wait(&mut state, 1)).collect();
    state.set_limit(None);
    process(&mut state);
    assert_eq!(state.reserved, 200);
    state.set_limit(Some(1));
    process(&mut state);
    assert_eq!((state.reserved, state.is_revoking), (200 - 64, true));
    for left in [200 - 128, 200 - 192] {
        assert_eq!(poll(&mut state, keys[0]), Acquire::Pending, "it is not decided yet");
        assert_eq!(poll(&mut state, keys[1]), Acquire::Pending);
        state.group_turn = false;
        process(&mut state);
        assert_eq!((state.reserved, state.is_revoking), (left, true));
        assert!(!state.group_turn);
    }
    process(&mut state);
    assert_eq!((state.reserved, state.is_revoking), (1, false));
    assert!(state.group_turn, "the first is told");
    assert_eq!(poll(&mut state, keys[1]), Acquire::Pending);
    assert_eq!(poll(&mut state, keys[0]), Acquire::Ready, "it is the oldest");

    // A higher limit ends that.
    state.set_limit(None);
    process(&mut state);
    state.set_limit(Some(1));
    process(&mut state);
    state.set_limit(Some(150));
    process(&mut state);
    assert_eq!((state.reserved, state.is_revoking), (150, false));
    assert_eq!(poll(&mut state, keys[149]), Acquire::Ready);
    assert_eq!(poll(&mut state, keys[150]), Acquire::Pending);
}

#[test]
fn reservations_without_a_weight_are_looked_at_once_and_kept() {
    let mut state = limited(2);
    queue(&mut state, child(1));
    queue(&mut state, child(1));
    let keys: Vec<_> = (0..200).map(|_| wait(&mut state, 0)).collect();
    process(&mut state);
    assert_eq!((state.reserved, state.stats().running), (200, 2));
    state.set_limit(Some(1));
    for _ in 0..3 {
        process(&mut state);
        assert!(state.is_revoking);
    }
    process(&mut state);
    assert_eq!((state.reserved, state.is_revoking), (200, false));
    assert_eq!(poll(&mut state, keys[150]), Acquire::Ready);
    process(&mut state);
    assert!(!state.is_revoking);
}

#[test]
fn a_reservation_before_a_child_that_has_room_is_not_revoked() {
    let mut state = limited(0);
    let key = wait(&mut state, 1);
    queue(&mut state, child(0));
    state.set_limit(Some(2));
    process(&mut state);
    state.set_limit(Some(0));
    process(&mut state);
    assert!(state.has_turn(key));
    assert_eq!(state.stats().running, 1);
    assert_eq!(poll(&mut state, key), Acquire::Ready);
    state.fill(key, child(1), &mut Effects::default());
    process(&mut state);
    assert_eq!(started(&mut state), [1, 0]);
}

#[test]
fn a_waiter_that_must_queue_keeps_its_turn_when_its_room_is_revoked() {
    let mut state = limited(1);
    queue(&mut state, child(0));
    started(&mut state);
    let key = wait(&mut state, 1);
    state.set_inside(key, Some(0));
    process(&mut state);
    assert!(state.has_turn(key), "the only running child waits");
    state.set_limit(Some(2));
    process(&mut state);
    assert_eq!(state.reserved, 1);
    state.set_limit(Some(1));
    process(&mut state);
    assert_eq!(state.reserved, 0);
    assert!(state.has_turn(key));
    state.fill(key, child(1), &mut Effects::default());
    process(&mut state);
    assert_eq!(state.stats().queued, 1);
}

#[test]
fn waiting_can_end_while_a_child_runs_that_contains_no_waiter() {
    let mut state = limited(2);
    queue(&mut state, child(0));
    queue(&mut state, child(1));
    started(&mut state);
    let key = wait(&mut state, 1);
    state.set_inside(key, Some(0));
    process(&mut state);
    assert!(!state.has_turn(key));
    state.set_limit(Some(1));
    finish(&mut state, 1);
    assert!(state.has_turn(key), "only the child that waits is left");
}

#[test]
fn daemons_and_results_that_wait_for_another_end_no_waiting() {
    let mut state = limited(3);
    queue(&mut state, daemon(0));
    queue(&mut state, child(1));
    queue(&mut state, child(2));
    started(&mut state);
    let key = wait(&mut state, 1);
    state.set_inside(key, Some(0));
    assert_eq!(state.nested.count(0), None, "a daemon is no child that is waited for");
    state.set_inside(key, Some(1));
    process(&mut state);
    assert!(!state.has_turn(key));
    state.finish_unfetched(2);
    process(&mut state);
    assert!(!state.has_turn(key), "its result may be fetched");
    state.blocked_results = 1;
    process(&mut state);
    assert!(state.has_turn(key));
}

#[test]
fn a_finished_daemon_that_keeps_its_room_counts_as_any_other_child() {
    let mut state = limited(2);
    queue(&mut state, daemon(0));
    queue(&mut state, daemon(1));
    assert!(state.has_only_daemons());
    started(&mut state);
    state.finish_unfetched(0);
    assert!(!state.has_only_daemons(), "its result is still to be fetched");
    state.finish(0, Outcome::Ok, false);
    process(&mut state);
    assert!(state.has_only_daemons());
    state.finish(1, Outcome::Panicked, false);
    process(&mut state);
    assert!(!state.has_only_daemons(), "nothing is left");
    assert_eq!((state.stats().ok, state.stats().dropped), (1, 1));
}

#[test]
fn the_last_waiter_that_goes_lets_the_group_end() {
    let mut state = limited(0);
    let key = wait(&mut state, 1);
    assert!(!state.try_resolve(false), "a waiter holds the group open");
    let notifies = change(&mut state, |state, effects| state.abandon(key, effects));
    assert!(notifies, "the group has an end to come to");
    assert!(state.try_resolve(false));
    assert_eq!(state.lifecycle.phase, GroupPhase::Resolved);
    process(&mut state);
}

#[test]
fn a_waiter_in_the_queue_that_fills_is_queued_at_its_position_with_the_childs_priority() {
    let mut state = limited(1);
    queue(&mut state, child(0));
    started(&mut state);
    let key = wait(&mut state, 1);
    state.set_inside(key, Some(0));
    process(&mut state);
    queue(&mut state, child(2));
    state.fill(key, child(1), &mut Effects::default());
    process(&mut state);
    finish(&mut state, 0);
    assert_eq!(started(&mut state), [1]);
    finish(&mut state, 1);
    assert_eq!(started(&mut state), [2]);
}

#[test]
fn a_heavier_child_uses_its_reservation_if_the_rest_fits() {
    let mut state = limited(3);
    assert!(state.try_take_room(Request::PLAIN));
    let key = state.reserve_newcomer(Request::PLAIN, Caller::Group);
    state.fill(key, heavy(0, 3), &mut Effects::default());
    process(&mut state);
    assert_eq!(started(&mut state), [0]);
    assert!(!state.try_take_room(Request::PLAIN));
}

fn unspawned(state: &mut State) -> Vec<(usize, ChildKey)> {
    let mut taken = Vec::new();
    state.take_unspawned(|index, key, _| taken.push((index, key)));
    taken
}

#[test]
fn the_indexes_have_no_gaps_whichever_way_children_are_taken() {
    let mut state = limited(4);
    (0..2).for_each(|key| queue(&mut state, child(key)));
    assert_eq!(unspawned(&mut state), [(0, 0), (1, 1)]);
    assert_eq!(unspawned(&mut state), [], "each is returned once");
    assert_eq!(state.starts.pop_started(), Some((0, 0)));
    queue(&mut state, child(2));
    assert_eq!(unspawned(&mut state), [(2, 2)]);
    assert_eq!(started(&mut state), [1, 2]);
}

#[test]
fn the_head_that_lacks_only_a_permit_waits_for_one_in_its_place() {
    let (mut state, semaphore) = with_permits(1);
    queue(&mut state, child(0));
    let notifies = change(&mut state, |state, _| state.enqueue(child(1)));
    assert!(state.room.lacks_permit() && notifies);
    assert!(!state.try_take_room(Request { weight: 1, priority: 0, ..Request::PLAIN }));
    started(&mut state);
    // Of another group.
    semaphore.add_permits(1);
    change(&mut state, |_, _| ());
    assert_eq!(started(&mut state), [1]);
    assert!(!state.room.lacks_permit());
    assert!(state.room.permits.as_ref().is_some_and(|permits| permits.cancel_acquire));
}

#[test]
fn a_permit_that_was_acquired_goes_to_the_head_or_back() {
    let (mut state, semaphore) = with_permits(0);
    state.enqueue(child(0));
    process(&mut state);
    change(&mut state, |state, _| state.room.permits.as_mut().unwrap().add());
    assert_eq!(started(&mut state), [0]);
    assert_eq!(give_back(&mut state, &semaphore), 0);
    change(&mut state, |state, _| state.room.permits.as_mut().unwrap().add());
    assert_eq!(give_back(&mut state, &semaphore), 1);
    finish(&mut state, 0);
    assert_eq!(give_back(&mut state, &semaphore), 1);
}

#[test]
fn permits_of_reservations_go_back_with_them() {
    for way in 0..4 {
        let (mut state, semaphore) = with_permits(1);
        let key = wait(&mut state, 1);
        assert_eq!(state.reserved, 1);
        match way {
            0 => state.abandon(key, &mut Effects::default()),
            1 => state.set_limit(Some(0)),
            2 => state.stop(&mut Vec::new()),
            _ => {
                state.set_limit(Some(1));
                state.fill(key, heavy(0, 1), &mut Effects::default());
                process(&mut state);
                started(&mut state);
                finish(&mut state, 0);
            }
        }
        state.process_queue(way == 2, &mut Effects::default());
        check_invariants(&mut state, way == 2);
        assert_eq!(give_back(&mut state, &semaphore), 1);
    }
}

#[test]
fn an_aborted_group_keeps_the_permits_until_its_children_are_gone() {
    let (mut state, semaphore) = with_permits(2);
    queue(&mut state, child(0));
    let key = wait(&mut state, 1);
    state.abort(&mut Vec::new());
    state.stop(&mut Vec::new());
    process_stopped(&mut state);
    assert_eq!(give_back(&mut state, &semaphore), 0);
    assert_eq!(poll(&mut state, key), Acquire::Stopped);
    state.room.permits.as_mut().unwrap().free_all();
    assert_eq!(give_back(&mut state, &semaphore), 2);
}

#[test]
fn a_child_that_comes_too_late_counts_as_dropped_and_one_given_back_does_not() {
    let mut state = limited(1);
    state.refuse(Refused::Stopped, None, false);
    state.refuse(Refused::Stopped, None, true);
    assert_eq!(state.stats().dropped, 1);
    assert!(state.has_accepted());
}

#[test]
fn a_plain_permit_goes_from_child_to_child_until_the_others_have_their_turn() {
    let (mut state, semaphore) = with_permits(1);
    (0..40).for_each(|key| queue(&mut state, child(key)));
    let mut count = 0;
    while let [key] = started(&mut state)[..] {
        finish(&mut state, key);
        count += 1;
    }
    assert_eq!(count, 33, "the first one and those that took its permit over");
    assert!(state.room.lacks_permit());
    assert!(!state.room.permits.as_ref().unwrap().may_wait(), "it is the turn of other groups");
    assert_eq!(give_back(&mut state, &semaphore), 1);
    state.room.permits.as_mut().unwrap().begin_poll();
    process(&mut state);
    assert_eq!(started(&mut state), [], "the task may poll this group first");
    state.room.permits.as_mut().unwrap().begin_poll();
    process(&mut state);
    assert_eq!(started(&mut state), [33]);
}
