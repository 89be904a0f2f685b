use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use crate::engine::{Child, Engine};
use crate::overflow::OverflowBlocks;
use crate::task::{Task, check, run};
use crate::util::parent_waker::ParentWaker;
use crate::util::sync;
use crate::util::wake_flag::WakeFlag;

/// What a child waits for: somebody counts it up and wakes the child. No ordering of its own,
/// so that a child sees it only where the wake-up carries it.
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

/// A thread that sets the data and wakes, so many times; the last time it gives the waker away.
fn wakes(times: usize, data: &Data, cx: &Context<'_>) {
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

/// Runs an engine with these children, which are told how often they were polled.
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

// === kept wakers ===

#[test]
fn a_waker_that_a_child_has_kept() {
    check(3, || {
        let data = Data::new();
        let mut kept: Option<Waker> = None;
        children!(|cx: &mut Context<'_>, polls| {
            match polls {
                // Polled again, with a flag of its own.
                1 => {
                    kept = Some(cx.waker().clone());
                    cx.waker().wake_by_ref();
                }
                2 => wakes(2, &data, cx),
                _ => {}
            }
            assert!(polls <= 4, "polled without a wake");
            data.is(2)
        });
    });
}

#[test]
fn two_children_of_one_block() {
    check(2, || {
        let (one, other) = (Data::new(), Data::new());
        let child = |data: Data| {
            move |cx: &mut Context<'_>, polls| {
                if polls == 1 {
                    wakes(1, &data, cx);
                }
                assert!(polls <= 2, "polled without a wake");
                data.is(1)
            }
        };
        children!(child(one), child(other));
    });
}

// === the waker that is lent ===

#[test]
fn a_lent_waker_that_is_woken_and_dropped() {
    check(None, || {
        let data = Data::new();
        children!(|cx: &mut Context<'_>, polls| {
            if polls == 1 {
                wakes(1, &data, cx);
            }
            assert!(polls <= 2, "polled without a wake");
            data.is(1)
        });
    });
}

#[test]
fn a_lent_waker_that_is_woken_twice() {
    check(3, || {
        let data = Data::new();
        children!(|cx: &mut Context<'_>, polls| {
            if polls == 1 {
                wakes(2, &data, cx);
            }
            assert!(polls <= 3, "polled without a wake");
            data.is(2)
        });
    });
}

#[test]
fn two_lent_wakers_of_one_child() {
    check(2, || {
        let (one, other) = (Data::new(), Data::new());
        children!(|cx: &mut Context<'_>, polls| {
            if polls == 1 {
                wakes(1, &one, cx);
                wakes(1, &other, cx);
            }
            assert!(polls <= 3, "polled without a wake");
            if one.is(1).is_ready() { other.is(1) } else { Poll::Pending }
        });
    });
}

// === stale wakers ===

/// A child that is done at its first poll, and leaves a clone of the waker it was lent.
#[test]
fn a_waker_that_was_lent_to_an_earlier_tenant() {
    check(3, || {
        let (stale, data) = (Data::new(), Data::new());
        let mut engine = Engine::new();
        engine.insert(|cx| {
            wakes(1, &stale, cx);
            Poll::Ready(())
        });
        tenant_after(engine, 1, &data);
    });
}

/// A child with a flag of its own, which is done at its second poll and leaves a clone.
#[test]
fn a_waker_that_an_earlier_tenant_has_kept() {
    check(3, || {
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
            wakes(2, &stale, cx);
            Poll::Ready(())
        });
        tenant_after(engine, 2, &data);
    });
}

/// Lets the engine's only child be done after so many polls, then seats another one there.
fn tenant_after<'a>(mut engine: Engine<'a>, polls: usize, data: &'a Data) {
    for polled in 1..=polls {
        let poll = engine.poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(poll.is_ready(), polled == polls);
    }
    let mut polls = 0;
    engine.insert(move |cx| {
        polls += 1;
        if polls == 1 {
            wakes(1, data, cx);
        }
        assert!(polls <= 2, "woken by the waker of another");
        data.is(1)
    });
    run(|cx| engine.poll(cx));
}

// === a child that wakes itself ===

#[test]
fn a_child_that_yields_and_is_woken() {
    check(3, || {
        let data = Data::new();
        children!(|cx: &mut Context<'_>, polls| {
            // Once by the lent waker, once by its own, while the thread wakes.
            match polls {
                1 => {
                    cx.waker().wake_by_ref();
                    wakes(2, &data, cx);
                }
                2 => cx.waker().wake_by_ref(),
                _ => {}
            }
            assert!(polls <= 5, "polled without a wake");
            if polls < 3 { Poll::Pending } else { data.is(2) }
        });
    });
}

/// The same the other way round, so that the wake comes while the thread may have let go.
#[test]
fn a_child_that_is_woken_and_yields() {
    check(3, || {
        let data = Data::new();
        children!(|cx: &mut Context<'_>, polls| {
            if polls == 1 {
                wakes(1, &data, cx);
            }
            if polls <= 2 {
                cx.waker().wake_by_ref();
            }
            assert!(polls <= 4, "polled without a wake");
            if polls < 3 { Poll::Pending } else { data.is(1) }
        });
    });
}

// === the far way ===

/// The entry of the region stands in a `FuturesUnordered` whose own steps are not explored.
#[test]
fn a_child_of_a_far_block() {
    check(3, || {
        let data = Data::new();
        let mut far = OverflowBlocks::new(vec![far_child(2, data)]);
        run(|cx| far.poll(cx));
    });
}

#[test]
fn children_of_two_far_blocks() {
    check(2, || {
        let (one, other) = (Data::new(), Data::new());
        let mut far = OverflowBlocks::new(vec![far_child(1, one), far_child(1, other)]);
        run(|cx| far.poll(cx));
    });
}

fn far_child(times: usize, data: Data) -> Child<'static> {
    let mut polls = 0;
    Box::new(move |cx| {
        polls += 1;
        if polls == 1 {
            wakes(times, &data, cx);
        }
        assert!(polls <= times + 1, "polled without a wake");
        data.is(times)
    })
}

// === the bell alone ===

/// Two ring by name. The first poll is by another task than the later ones.
#[test]
fn a_bell_that_two_pull() {
    check(3, || {
        let parent = ParentWaker::new();
        let data = [Data::new(), Data::new()];
        for cord in 0..2 {
            let (parent, data) = (sync::Arc::clone(&parent), data[cord].clone());
            thread::spawn(move || {
                data.set(1);
                parent.notify_block(cord as u8);
            });
        }
        let mut heard = 0;
        let mut poll = |cx: &mut Context<'_>| {
            let news = parent.begin_poll(cx).merge(parent.take_ready());
            assert_eq!(news.any(), news.blocks() != 0);
            for cord in (0..2).filter(|cord| news.blocks() & 1 << cord != 0) {
                assert!(data[cord].is(1).is_ready(), "a ring without what was done before");
                assert_eq!(heard & 1 << cord, 0, "heard twice");
            }
            heard |= news.blocks();
            parent.end_poll(cx, heard != 3);
            if heard == 3 { Poll::Ready(()) } else { Poll::Pending }
        };
        let task = Task::new();
        if poll(&mut Context::from_waker(&Task::new().waker())).is_pending() {
            task.run(poll);
        }
    });
}

/// The waker of a scope's body, polled as the scope does.
#[test]
fn a_signal() {
    check(3, || {
        let data = Data::new();
        let parent = ParentWaker::new();
        let signal = WakeFlag::new(sync::Arc::clone(&parent));
        let waker = WakeFlag::waker(&signal);
        let mut polls = 0;
        run(|cx| {
            parent.begin_poll(cx);
            let mut done = Poll::Pending;
            let mut yielded = false;
            loop {
                if !yielded && signal.take_woken() {
                    polls += 1;
                    let cx = Context::from_waker(&waker);
                    match polls {
                        1 => wakes(2, &data, &cx),
                        2 => cx.waker().wake_by_ref(),
                        _ => {}
                    }
                    assert!(polls <= 4, "polled without a wake");
                    done = data.is(2);
                    yielded = signal.is_woken();
                }
                parent.take_ready();
                if done.is_ready() || yielded || !signal.is_woken() {
                    break;
                }
            }
            if signal.is_woken() {
                parent.notify();
            }
            parent.end_poll(cx, done.is_pending());
            done
        });
    });
}

// === what loom finds ===

/// Looks for work and says whom to wake, in that order or the other one.
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

/// The same with a mere flag in place of the waker's registration. The look may come before
/// the store then, for all the others see; not before an exchange of what the other exchanges
/// too, since one of the two comes second and sees the first.
fn note_and_look(exchange: bool) {
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
    note_and_look(true);
}

#[test]
#[should_panic(expected = "a lost wake-up")]
fn to_register_by_a_store() {
    note_and_look(false);
}
