use super::*;
use crate::util::panic::catch;

const WEIGHT_ONE: Request<'_> = Request::PLAIN;

fn child(key: ChildKey) -> QueuedChild {
    QueuedChild { key, options: None }
}

fn heavy(key: ChildKey, weight: usize) -> QueuedChild {
    QueuedChild { key, options: Some(Box::new(Options { weight, ..Options::default() })) }
}

fn daemon(key: ChildKey) -> QueuedChild {
    QueuedChild { key, options: Some(Box::new(Options { daemon: true, ..Options::default() })) }
}

fn limited(limit: usize) -> State {
    let mut state = State::new();
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

fn poller() -> Poller<'static> {
    Poller { caller: Caller::Group, task: Waker::noop(), clone: None, group: 0 }
}

fn process(state: &mut State) {
    state.process_queue(false, &mut Effects::default());
    check_invariants(state);
}

fn finish(state: &mut State, index: usize) {
    state.finish(index, Outcome::Ok, false);
    process(state);
}

fn started(state: &mut State) -> Vec<ChildKey> {
    core::iter::from_fn(|| state.pop_ready()).map(|(_, key)| key).collect()
}

/// Checks the invariants in the head of the module.
fn check_invariants(state: &State) {
    if let Some((_, first)) = state.queue.first() {
        assert!(!state.fits(first.weight()) || state.permits.is_some(), "the head has room");
    }
    assert!(matches!(state.starting.front(), None | Some(Slot::Reserved(_))));
    let reserved = state.starting.iter().filter(|slot| matches!(slot, Slot::Reserved(_))).count();
    assert_eq!(state.reserved, reserved);
    assert!(state.occupied >= state.reserved);
    for waiter in state.waiters.iter() {
        if let Stage::Reserved { slot, .. } = waiter.stage {
            let at = (slot - state.first_slot) as usize;
            assert!(matches!(state.starting[at], Slot::Reserved(_)));
        }
    }
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
    assert!(state.has_group_turn());
    assert_eq!(poll(&mut state, key), Acquire::Ready);
    assert!(!state.has_group_turn());
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
    assert!(!state.has_group_turn(), "a turn that was revoked is no work");
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
    assert_eq!(keys, [1]);
    assert_eq!(poll(&mut state, key), Acquire::Stopped);
    assert!(!state.has_turn(key));
    assert_eq!((state.stats().queued, state.stats().dropped), (0, 1));
    assert!(!state.try_close(true), "a child runs");
    state.finish(0, Outcome::Ok, true);
    assert!(state.try_close(true));
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
