use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use crate::engine::{Child, Engine, HAS_HANDLES};
use crate::overflow::OverflowBlocks;
use crate::task::{Task, check, run};
use crate::util::parent_waker::ParentWaker;
use crate::util::sync;
use crate::util::wake_flag::WakeFlag;

/// What a child waits for: another thread counts it up and wakes the child. It has no ordering of
/// its own, so a child sees it only if the wake-up carries it.
#[derive(Clone)]
struct Data(Arc<AtomicUsize>);

impl Data {
    fn new() -> Self {
        Self(Arc::new(AtomicUsize::new(0)))
    }

    fn set(&self, value: usize) {
        self.0.store(value, Ordering::Relaxed);
    }

    fn is(&self, value: usize) -> Poll<()> {
        if self.0.load(Ordering::Relaxed) == value { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// Spawns a thread that sets the data and wakes the child, `times` times; the last time it
/// consumes the waker.
fn wake_from_thread(times: usize, data: &Data, cx: &Context<'_>) {
    let (data, waker) = (data.clone(), cx.waker().clone());
    thread::spawn(move || {
        for value in 1..times {
            data.set(value);
            waker.wake_by_ref();
        }
        data.set(times);
        waker.wake();
    });
}

/// Checks a model of a group without handles, and of one with handles.
fn check_both(
    switches: impl Into<Option<usize>>,
    model: impl Fn() + Clone + Send + Sync + 'static,
) {
    let switches = switches.into();
    for has_handles in [false, true] {
        HAS_HANDLES.set(has_handles);
        check(switches, model.clone());
    }
}

/// Runs an engine with these children. Each is told how many polls it has had, this one included.
macro_rules! children {
    ($($child:expr),*) => {{
        let mut engine = Engine::new();
        $(
            let mut polls = 0;
            #[allow(unused_mut)]
            let mut child = $child;
            engine.insert(move |cx| {
                polls += 1;
                child(cx, polls)
            });
        )*
        run(|cx| engine.poll(cx));
    }};
}

// === wakers that a child has kept ===

#[test]
fn a_waker_that_a_child_has_kept() {
    check_both(3, || {
        let data = Data::new();
        let mut kept: Option<Waker> = None;
        children!(|cx: &mut Context<'_>, polls| {
            match polls {
                // It is polled again, with a waker of its own.
                1 => {
                    kept = Some(cx.waker().clone());
                    cx.waker().wake_by_ref();
                }
                2 => wake_from_thread(2, &data, cx),
                _ => {}
            }
            assert!(polls <= 4, "polled without a wake");
            data.is(2)
        });
    });
}

#[test]
fn two_children_of_one_block() {
    check_both(2, || {
        let (one, other) = (Data::new(), Data::new());
        let child = |data: Data| {
            move |cx: &mut Context<'_>, polls| {
                if polls == 1 {
                    wake_from_thread(1, &data, cx);
                }
                assert!(polls <= 2, "polled without a wake");
                data.is(1)
            }
        };
        children!(child(one), child(other));
    });
}

// === the mark of a watchdog ===

#[test]
fn a_mark_loses_no_wake_up_and_is_gone_once_the_task_has_polled() {
    check(3, || {
        let data = Data::new();
        let mut engine = Engine::new();
        let (parent, watched) = (engine.parent.clone(), engine.parent.clone());
        let mut polls = 0;
        engine.insert(move |cx: &mut Context<'_>| {
            polls += 1;
            if polls == 1 {
                wake_from_thread(1, &data, cx);
            }
            data.is(1)
        });
        let watchdog = thread::spawn(move || watched.mark_starved());
        run(|cx| engine.poll(cx));
        let mark = watchdog.join().unwrap();
        // The thread may notify after the last poll, and the mark may come after that. But a mark
        // that was left during a poll would count for this notification.
        let is_starved = parent.is_starved();
        parent.notify();
        assert!(is_starved || !mark.is_some_and(|mark| parent.is_marked(mark)));
    });
}

// === the shared waker ===

#[test]
fn a_shared_waker_that_is_woken_and_dropped() {
    check_both(None, || {
        let data = Data::new();
        children!(|cx: &mut Context<'_>, polls| {
            if polls == 1 {
                wake_from_thread(1, &data, cx);
            }
            assert!(polls <= 2, "polled without a wake");
            data.is(1)
        });
    });
}

#[test]
fn a_shared_waker_that_is_woken_twice() {
    check_both(3, || {
        let data = Data::new();
        children!(|cx: &mut Context<'_>, polls| {
            if polls == 1 {
                wake_from_thread(2, &data, cx);
            }
            assert!(polls <= 3, "polled without a wake");
            data.is(2)
        });
    });
}

#[test]
fn two_clones_of_the_shared_waker() {
    check_both(2, || {
        let (one, other) = (Data::new(), Data::new());
        children!(|cx: &mut Context<'_>, polls| {
            if polls == 1 {
                wake_from_thread(1, &one, cx);
                wake_from_thread(1, &other, cx);
            }
            assert!(polls <= 3, "polled without a wake");
            if one.is(1).is_ready() { other.is(1) } else { Poll::Pending }
        });
    });
}

// === clones that outlive their child ===

/// The child is done at its first poll, and leaves a clone of the shared waker.
#[test]
fn a_clone_of_the_shared_waker_that_an_earlier_child_left() {
    check_both(3, || {
        let (stale, data) = (Data::new(), Data::new());
        let mut engine = Engine::new();
        engine.insert(|cx| {
            wake_from_thread(1, &stale, cx);
            Poll::Ready(())
        });
        next_child_after(engine, 1, &data);
    });
}

/// The child has a waker of its own, is done at its second poll, and leaves a clone.
#[test]
fn a_clone_of_its_own_waker_that_an_earlier_child_left() {
    check_both(3, || {
        let (stale, data) = (Data::new(), Data::new());
        let (mut polls, mut kept) = (0, None);
        let mut engine = Engine::new();
        engine.insert(|cx| {
            polls += 1;
            if polls == 1 {
                kept = Some(cx.waker().clone());
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            kept = None;
            wake_from_thread(2, &stale, cx);
            Poll::Ready(())
        });
        next_child_after(engine, 2, &data);
    });
}

/// Polls the engine's only child, which is done after `polls` polls, then another one in the same
/// slot.
fn next_child_after<'a>(mut engine: Engine<'a>, polls: usize, data: &'a Data) {
    for polled in 1..=polls {
        let poll = engine.poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(poll.is_ready(), polled == polls);
    }
    let mut polls = 0;
    engine.insert(move |cx| {
        polls += 1;
        if polls == 1 {
            wake_from_thread(1, data, cx);
        }
        assert!(polls <= 2, "woken by the waker of another child");
        data.is(1)
    });
    run(|cx| engine.poll(cx));
}

// === a child that wakes itself ===

#[test]
fn a_child_that_yields_and_is_woken() {
    check_both(3, || {
        let data = Data::new();
        children!(|cx: &mut Context<'_>, polls| {
            // Once by the shared waker, once by its own, while the thread wakes it.
            match polls {
                1 => {
                    cx.waker().wake_by_ref();
                    wake_from_thread(2, &data, cx);
                }
                2 => cx.waker().wake_by_ref(),
                _ => {}
            }
            assert!(polls <= 5, "polled without a wake");
            if polls < 3 { Poll::Pending } else { data.is(2) }
        });
    });
}

/// The same the other way round: the child wakes itself when the thread may have dropped its clone.
#[test]
fn a_child_that_is_woken_and_yields() {
    check_both(3, || {
        let data = Data::new();
        children!(|cx: &mut Context<'_>, polls| {
            if polls == 1 {
                wake_from_thread(1, &data, cx);
            }
            if polls <= 2 {
                cx.waker().wake_by_ref();
            }
            assert!(polls <= 4, "polled without a wake");
            if polls < 3 { Poll::Pending } else { data.is(1) }
        });
    });
}

// === blocks in regions ===

#[test]
fn a_child_of_a_block_in_a_region() {
    check_child_of_region(OverflowBlocks::in_direct_region);
}

#[test]
fn children_of_two_blocks_in_a_region() {
    check_children_of_region(OverflowBlocks::in_direct_region);
}

/// The region's future is in a `FuturesUnordered`, the inside of which is not explored.
#[test]
fn a_child_of_a_block_in_a_region_that_is_a_future() {
    check_child_of_region(OverflowBlocks::in_region_future);
}

#[test]
fn children_of_two_blocks_in_a_region_that_is_a_future() {
    check_children_of_region(OverflowBlocks::in_region_future);
}

type MakeBlocks = fn(Vec<Child<'static>>) -> OverflowBlocks<'static>;

fn check_child_of_region(make: MakeBlocks) {
    check(3, move || {
        let mut blocks = make(vec![region_child(2, Data::new())]);
        run(|cx| blocks.poll(cx));
    });
}

fn check_children_of_region(make: MakeBlocks) {
    check(2, move || {
        let mut blocks = make((0..2).map(|_| region_child(1, Data::new())).collect());
        run(|cx| blocks.poll(cx));
    });
}

// === wakers that outlive their block ===

#[test]
fn a_waker_whose_block_is_given_to_another_child_in_a_region() {
    check_replaced(OverflowBlocks::in_direct_region, OverflowBlocks::trim);
}

#[test]
fn a_waker_whose_block_is_given_to_another_child_in_a_region_that_is_a_future() {
    check_replaced(OverflowBlocks::in_region_future, OverflowBlocks::trim);
}

#[test]
fn a_waker_whose_region_is_made_anew() {
    check_replaced(OverflowBlocks::in_direct_region, |blocks, children| blocks.reset(0, children));
}

#[test]
fn a_waker_whose_region_that_is_a_future_is_made_anew() {
    check_replaced(OverflowBlocks::in_region_future, |blocks, children| blocks.reset(0, children));
}

#[test]
fn a_waker_whose_region_is_gone() {
    check_replaced(OverflowBlocks::in_direct_region, |blocks, children| blocks.reset(1, children));
}

#[test]
fn a_waker_whose_region_that_is_a_future_is_gone() {
    check_replaced(OverflowBlocks::in_region_future, |blocks, children| blocks.reset(1, children));
}

type Replace = fn(&mut OverflowBlocks<'static>, Vec<Child<'static>>);

/// Children keep their wakers, and one of these wakes at any time, before or after the block has
/// gone. The child in its place is polled for its own wake-up only, and loses none.
fn check_replaced(make: MakeBlocks, replace: Replace) {
    check(2, move || {
        let gone: Child<'static> = Box::new(|cx: &mut Context<'_>| {
            wake_from_thread(1, &Data::new(), cx);
            Poll::Pending
        });
        let mut blocks = make(vec![gone]);
        let mut is_new = true;
        run(|cx| {
            if std::mem::take(&mut is_new) {
                assert!(blocks.poll(cx).is_pending());
                replace(&mut blocks, vec![region_child(1, Data::new())]);
            }
            blocks.poll(cx)
        });
    });
}

fn region_child(times: usize, data: Data) -> Child<'static> {
    let mut polls = 0;
    Box::new(move |cx| {
        polls += 1;
        if polls == 1 {
            wake_from_thread(times, &data, cx);
        }
        assert!(polls <= times + 1, "polled without a wake");
        data.is(times)
    })
}

// === the parent's waker, and the flag of another future ===

/// Two threads notify, each of its block. The first poll is by another task than the later ones.
#[test]
fn a_parent_that_is_notified_of_two_blocks() {
    check(3, || {
        let parent = ParentWaker::new();
        let data = [Data::new(), Data::new()];
        for block in 0..2 {
            let (parent, data) = (sync::Arc::clone(&parent), data[block].clone());
            thread::spawn(move || {
                data.set(1);
                parent.notify_block(block as u8);
            });
        }
        let mut seen = 0;
        let mut poll = |cx: &mut Context<'_>| {
            parent.begin_poll();
            let ready = parent.take_ready();
            assert_eq!(ready.any(), ready.blocks() != 0);
            for block in (0..2).filter(|block| ready.blocks() & 1 << block != 0) {
                assert!(data[block].is(1).is_ready(), "does not carry what was done before");
                assert_eq!(seen & 1 << block, 0, "taken twice");
            }
            seen |= ready.blocks();
            parent.end_poll(cx, (seen != 3, true));
            if seen == 3 { Poll::Ready(()) } else { Poll::Pending }
        };
        let task = Task::new();
        if poll(&mut Context::from_waker(&Task::new().waker())).is_pending() {
            task.run(poll);
        }
    });
}

/// The waker of a scope's body, which is polled as the scope polls it.
#[test]
fn a_wake_flag() {
    check(3, || {
        let data = Data::new();
        let parent = ParentWaker::new();
        let flag = WakeFlag::new(sync::Arc::clone(&parent));
        let waker = WakeFlag::waker(&flag);
        let mut polls = 0;
        run(|cx| {
            parent.begin_poll();
            let mut done = Poll::Pending;
            let mut yielded = false;
            loop {
                if !yielded && flag.take_woken() {
                    polls += 1;
                    let cx = Context::from_waker(&waker);
                    match polls {
                        1 => wake_from_thread(2, &data, &cx),
                        2 => cx.waker().wake_by_ref(),
                        _ => {}
                    }
                    assert!(polls <= 4, "polled without a wake");
                    done = data.is(2);
                    yielded = flag.is_woken();
                }
                parent.take_ready();
                if done.is_ready() || yielded || !flag.is_woken() {
                    break;
                }
            }
            if flag.is_woken() {
                parent.notify();
            }
            parent.end_poll(cx, (done.is_pending(), true));
            done
        });
    });
}

// === what loom itself finds ===

/// Looks for work and registers the task, in that order or the other one.
fn register_and_look(look_first: bool) {
    check(None, move || {
        let shared = Arc::new((AtomicUsize::new(0), sync::AtomicWaker::new()));
        let other = Arc::clone(&shared);
        thread::spawn(move || {
            other.0.fetch_or(1, Ordering::AcqRel);
            other.1.wake();
        });
        run(|cx| {
            if look_first && shared.0.load(Ordering::Acquire) != 0 {
                return Poll::Ready(());
            }
            shared.1.register(cx.waker());
            if !look_first && shared.0.load(Ordering::Relaxed) != 0 {
                return Poll::Ready(());
            }
            Poll::Pending
        });
    });
}

#[test]
fn to_register_and_then_look() {
    register_and_look(false);
}

#[test]
#[should_panic(expected = "deadlock")]
fn to_look_and_then_register() {
    register_and_look(true);
}

/// The same with a flag in place of the waker's registration. To the other thread, the look may
/// then come before a store of the flag. It can't come before an exchange, if the other thread
/// exchanges the flag too: one of the two exchanges is the second and sees the first.
fn set_and_look(exchange: bool) {
    check(None, move || {
        let shared = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
        let other = Arc::clone(&shared);
        let waker = thread::spawn(move || {
            other.0.fetch_or(1, Ordering::AcqRel);
            other.1.fetch_or(2, Ordering::AcqRel) & 1 != 0
        });
        if exchange {
            shared.1.swap(1, Ordering::AcqRel);
        } else {
            shared.1.store(1, Ordering::Release);
        }
        let seen = shared.0.load(Ordering::Relaxed) != 0;
        assert!(waker.join().unwrap() || seen, "a lost wake-up");
    });
}

#[test]
fn to_register_by_an_exchange() {
    set_and_look(true);
}

#[test]
#[should_panic(expected = "a lost wake-up")]
fn to_register_by_a_store() {
    set_and_look(false);
}
