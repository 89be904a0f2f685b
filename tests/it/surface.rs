//! Every public name and signature that users rely on, in one place: if this compiles, none is
//! missing or has another shape.
#![allow(clippy::let_underscore_future)]

use std::convert::Infallible;
use std::error::Error;
use std::fmt::{self, Debug, Display};
use std::future::{IntoFuture, pending, ready};
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::common::{Job, job};
use errgroup::future::Watchdog;
use errgroup::snapshot::{Cause, ChildSnapshot, ChildState, KeySnapshot, Phase, WaitsFor};
use errgroup::{
    AllErrors, Boxed, CancelError, CancelToken, ChildHandle, ChildInfo, Collect, DropGuard, Errors,
    Event, Failure, FirstDone, FirstErr, FirstOk, Group, Handle, Hold, Joinable, JsonLines, Key,
    LocalBoxed, Lost, Named, Observer, Outcome, Plain, Policy, PollObserver, Reason, Semaphore,
    Settle, Slot, SlowPoll, SlowPolls, Snapshot, Spawned, SpawnedLocal, Stats, Stopped, Task,
    TryGoError, Verdict, for_each, for_each_stream, hedge, map, map_stream, task, value, watchdog,
};
use futures::executor::block_on;
use futures::future::{BoxFuture, FusedFuture, LocalBoxFuture};
use futures::stream::{self, FusedStream, Stream, StreamExt};

fn is_send<T: Send>(_: &T) {}
fn is_send_sync<T: Send + Sync>() {}
fn is_unwind_safe<T: UnwindSafe + RefUnwindSafe>() {}
fn is_error<T: Error>() {}
fn is_fused<T: FusedFuture>(_: &T) {}

#[test]
fn a_group_has_its_constructors_builders_and_methods() {
    let sem: Arc<Semaphore> = Arc::new(Semaphore::new(2));
    let _: Arc<async_lock::Semaphore> = Arc::clone(&sem);
    let parent = CancelToken::new();
    let mut group: Group<Boxed<'_, usize, &'static str>> = Group::new()
        .with_limit(3)
        .with_semaphore(sem)
        .with_parent(&parent)
        .with_deadline(pending::<()>())
        .with_grace(|| ready(()))
        .with_key_limit(2)
        .with_queue_limit(100);
    is_send(&group);
    is_fused(&group);
    block_on(async {
        let admitted: Result<(), Stopped<_>> = group.go(async { Ok(1) }).await;
        assert!(admitted.is_ok());
        let tried: Result<(), TryGoError<_>> = group.try_go(async { Ok(1) });
        assert!(tried.is_ok());
        let queued: Result<(), TryGoError<_>> = group.try_queue(async { Ok(1) });
        assert!(queued.is_ok());
        group.queue(async { Ok(2) });
        let fed: usize = group.feed(stream::iter((0..3).map(|n| ready(Ok(n))))).await;
        assert_eq!(fed, 3);
        let room: Result<(), Stopped<()>> = group.ready().await;
        assert!(room.is_ok());
        let handle: Handle<Boxed<'_, usize, &'static str>> = group.handle();
        let _: &CancelToken = group.token();
        let _: Option<usize> = group.limit();
        group.set_limit(Some(5));
        group.set_key_limit(&Key::from("a"), Some(1));
        let hold: Hold = group.hold();
        let again = hold.clone();
        is_send_sync::<Hold>();
        drop((hold, again));
        let Stats { limit, queued, running, ok, failed, dropped, .. } = group.stats();
        assert!(queued + running + ok + failed + dropped >= 7 && limit == Some(5));
        assert!(!group.is_stopped() && !group.is_closing());
        group.close();
        assert!(group.is_closing());
        assert!(matches!(group.try_queue(async { Ok(1) }), Err(TryGoError::Closed(_))));
        assert_eq!((&mut group).await, Ok(()));
        assert!(group.is_terminated());
        handle.closed().await;
        assert!(handle.is_closed());
    });
    let _ = Group::<Boxed<'_, usize, &'static str>>::new().drop_on_stop();
    let _: Group<LocalBoxed<'_, usize, &'static str>> = Group::local();
    let _: Group<Plain<Job>> = Group::unboxed();
    let spawn = |child: BoxFuture<'static, ()>| drop(child);
    let _: Group<Spawned<usize, &'static str>> = Group::on(spawn);
    let spawn = |child: LocalBoxFuture<'static, ()>| drop(child);
    let _: Group<SpawnedLocal<Rc<usize>, Rc<str>>> = Group::on_local(spawn);
    let mut group = Group::new().with_error::<&'static str>();
    group.queue(async { Ok(0_usize) });
}

#[test]
fn a_handle_reserves_room_and_does_what_a_group_does() {
    block_on(async {
        let group: Group<Boxed<'static, usize, &'static str>> = Group::new().with_limit(8);
        let handle = group.handle();
        is_send_sync::<Handle<Boxed<'static, usize, &'static str>>>();
        let hold = handle.hold();
        let slot: Slot<Boxed<'static, usize, &'static str>> = handle.reserve().await.unwrap();
        let given: Result<(), Stopped<_>> = slot.go(async { Ok(1) });
        assert!(given.is_ok());
        drop(handle.reserve().await.unwrap());
        handle.go(async { Ok(1) }).await.unwrap();
        handle.try_go(async { Ok(1) }).unwrap();
        handle.try_queue(async { Ok(1) }).unwrap();
        handle.queue(async { Ok(1) });
        assert_eq!(handle.feed(stream::iter([ready(Ok(1))])).await, 1);
        handle.set_limit(None);
        handle.set_key_limit(&Key::from(1_u8), None);
        let _ = (handle.limit(), handle.stats(), handle.is_stopped(), handle.token().clone());
        handle.close();
        assert!(handle.is_closing());
        drop(hold);
        assert_eq!(group.await, Ok(()));
    });
}

#[test]
fn results_live_on() {
    block_on(async {
        let group: Group<Boxed<'static, usize, &'static str>> = Group::new();
        let mut results = group.results().buffered(2);
        assert!(results.is_empty() && results.next().await.is_none());
        results.queue(async { Ok(1) });
        results.try_queue(async { Ok(2) }).unwrap();
        assert_eq!(results.len(), 2);
        assert!(!results.is_terminated());
        let mut all = vec![results.next().await.unwrap().unwrap()];
        all.push(results.next().await.unwrap().unwrap());
        all.sort_unstable();
        assert_eq!(all, [1, 2]);
        let hold = results.hold();
        results.close();
        assert!(results.is_closing());
        assert!(results.next().await.is_none());
        drop(hold);
        let group: Group<Boxed<'static, usize, &'static str>> = Group::new().with_limit(1);
        let fed = group.results().feed(stream::iter([ready(Ok(1)), ready(Ok(2))]));
        assert!(fed.size_hint().0 <= 2);
        assert_eq!(fed.map(Result::unwrap).collect::<Vec<_>>().await, [1, 2]);
    });
}

struct Mine;

impl Policy<usize, &'static str> for Mine {
    type Output = (Reason, usize);

    fn on_child(&mut self, child: &ChildInfo<'_>, result: Result<usize, &'static str>) -> Verdict {
        let _: (usize, Option<&str>, Option<&Key>) = (child.index(), child.name(), child.key());
        if result.is_err() { Verdict::Stop(Reason::Failed) } else { Verdict::Continue }
    }

    fn finish(&mut self, why: &Reason) -> (Reason, usize) {
        (why.clone(), 0)
    }
}

#[derive(Default)]
struct Counted(usize);

impl Policy<usize, Failure<&'static str>> for Counted {
    type Output = usize;

    fn on_child(
        &mut self,
        _: &ChildInfo<'_>,
        result: Result<usize, Failure<&'static str>>,
    ) -> Verdict {
        self.0 += usize::from(result.is_err());
        Verdict::Continue
    }

    fn finish(&mut self, _: &Reason) -> usize {
        self.0
    }
}

type Jobs = Group<Boxed<'static, usize, &'static str>>;

#[test]
fn policies_have_their_outputs() {
    fn fails(group: &Handle<Boxed<'static, usize, &'static str>>) {
        group.queue(task(async { Err("refused") }).name("fetch /a"));
    }
    block_on(async {
        let group = Jobs::new().with_policy(Mine);
        assert_eq!(group.await, (Reason::Finished, 0));
        let group: Group<_, FirstErr<&'static str>> = Jobs::new();
        let _: Result<(), &'static str> = group.await;
        let group: Group<_, Collect<usize, &'static str>> = Jobs::new().collect();
        let _: Result<Vec<usize>, &'static str> = group.await;
        let group: Group<_, AllErrors<&'static str>> = Jobs::new().all_errors();
        let _: Result<(), Errors<&'static str>> = group.await;
        let group: Group<_, Settle<usize, &'static str>> = Jobs::new().settle();
        let _: Vec<Result<usize, &'static str>> = group.await;
        let group: Group<_, FirstOk<usize, &'static str>> = Jobs::new().first_ok();
        let _: Result<usize, Errors<&'static str>> = group.await;
        let group: Group<_, FirstDone<usize, &'static str>> = Jobs::new().first_done();
        let _: Option<Result<usize, &'static str>> = group.await;
        let _: Result<(), Errors<&'static str>> = Jobs::new().all_errors().fail_fast().await;
        let _: Result<(), Errors<&'static str>> = Jobs::new().all_errors().tolerate(2).await;

        let group = Jobs::new().named();
        fails(&group.handle());
        let failed: Result<(), Failure<&'static str>> = group.await;
        let failed = failed.unwrap_err();
        assert_eq!(failed.to_string(), "child 0 (fetch /a): refused");
        assert_eq!((failed.index(), failed.name(), failed.key()), (0, Some("fetch /a"), None));
        assert_eq!(*failed.error(), "refused");
        assert_eq!(failed.into_inner(), "refused");
        let _: Result<Vec<usize>, Failure<&'static str>> = Jobs::new().collect().named().await;
        let _: Result<(), Errors<Failure<&'static str>>> = Jobs::new().all_errors().named().await;
        let _: Vec<Result<usize, Failure<&'static str>>> = Jobs::new().settle().named().await;
        let _: Result<usize, Errors<Failure<&'static str>>> = Jobs::new().first_ok().named().await;
        let _: Option<Result<usize, Failure<&'static str>>> =
            Jobs::new().first_done().named().await;
        let group = Jobs::new().with_policy(Named(Counted(0)));
        fails(&group.handle());
        assert_eq!(group.await, 1);

        let group = Jobs::new()
            .with_reason(|error: &&str| Reason::Cause(Arc::new(std::io::Error::other(*error))));
        fails(&group.handle());
        let token = group.token().clone();
        assert!(group.await.is_err());
        assert!(matches!(token.reason(), Some(Reason::Cause(_))));
        let _: Result<Vec<usize>, &'static str> =
            Jobs::new().collect().with_reason(|_: &&str| Reason::Failed).await;
    });
}

#[test]
fn scopes_give_the_body_and_the_output() {
    block_on(async {
        let (n, out): (usize, Result<(), &'static str>) = Jobs::new()
            .scope(async |handle| {
                handle.queue(async { Ok(1) });
                7
            })
            .await;
        assert_eq!((n, out), (7, Ok(())));
        let n: Result<usize, &'static str> = Jobs::new().try_scope(async |_| Ok(7)).await;
        assert_eq!(n, Ok(7));
        let both: Result<(usize, Vec<usize>), &'static str> = Jobs::new()
            .collect()
            .try_scope(async |handle| {
                handle.queue(async { Ok(1) });
                Ok(7)
            })
            .await;
        assert_eq!(both, Ok((7, vec![1])));
    });
}

#[test]
fn free_functions_drive_inputs() {
    block_on(async {
        let all: Result<Vec<usize>, &'static str> = map(2, [1, 2], |n| job(ready(Ok(n)))).await;
        assert_eq!(all, Ok(vec![1, 2]));
        let done: Result<(), &'static str> =
            for_each(2, [1, 2], |n: usize| job(ready(Ok(n)))).await;
        assert_eq!(done, Ok(()));
        let all: Result<Vec<usize>, &'static str> =
            map_stream(2, stream::iter([1, 2]), |n| job(ready(Ok(n)))).await;
        assert_eq!(all, Ok(vec![1, 2]));
        let done: Result<(), &'static str> =
            for_each_stream(2, stream::iter([1_usize]), |n| job(ready(Ok(n)))).await;
        assert_eq!(done, Ok(()));
        let Ok(all) = map(8, [1_usize, 2], |n| value(ready(n))).await;
        assert_eq!(all, [1, 2]);
        let one: Result<usize, Infallible> = value(async { 1 }).await;
        assert_eq!(one, Ok(1));
        let won: Result<usize, Errors<&'static str>> =
            hedge(2, |n| job(ready(Ok(n))), |_| ready(())).await;
        assert_eq!(won.unwrap(), 0);
    });
}

#[test]
fn tasks_have_their_options() {
    let _: Task<_> = task(async { Ok::<(), &str>(()) })
        .name("n")
        .name(String::from("n"))
        .weight(0)
        .priority(-1)
        .daemon()
        .key("k")
        .key(7_u64)
        .unique()
        .until_stop();
    block_on(async {
        let mut group: Group<Boxed<'_, (), &'static str>> = Group::new();
        let (child, handle): (Task<Joinable<_>>, ChildHandle<usize>) =
            task(async { Ok::<_, &'static str>(7_usize) }).name("j").joinable();
        group.queue(child);
        assert!(!handle.is_finished());
        assert_eq!(group.await, Ok(()));
        assert!(handle.is_finished());
        is_send(&handle);
        let got: Result<usize, Lost> = handle.await;
        assert_eq!(got, Ok(7));

        let mut group: Group<Boxed<'_, (), &'static str>> = Group::new();
        let (child, handle) = task(pending::<Result<usize, &'static str>>()).joinable();
        group.queue(child);
        handle.abort();
        assert_eq!(group.await, Ok(()));
        assert_eq!(handle.await, Err(Lost::Aborted));
        let (child, handle) = task(ready(Ok::<usize, &'static str>(1))).joinable();
        drop(child);
        assert_eq!(handle.await, Err(Lost::Dropped));
        let (child, handle) = task(ready(Err::<usize, &'static str>("no"))).joinable();
        let mut group: Group<Boxed<'_, (), &'static str>> = Group::new();
        group.queue(child);
        assert_eq!(group.await, Err("no"));
        assert_eq!(handle.await, Err(Lost::Failed));
        let (_child, handle) = task(pending::<Result<usize, &'static str>>()).joinable();
        let _ = handle.abort_on_drop();
        let _ = Lost::Panicked;
        is_error::<Lost>();
    });
}

#[test]
fn keys_are_made_of_what_callers_have() {
    fn is_key<T: Clone + Eq + Hash + Ord + Debug + Display + Send + Sync>() {}
    is_key::<Key>();
    let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let keys: Vec<Key> = vec![
        "a".into(),
        String::from("a").into(),
        Arc::<str>::from("a").into(),
        1_u8.into(),
        1_u16.into(),
        1_u32.into(),
        1_u64.into(),
        1_usize.into(),
        1_i32.into(),
        1_i64.into(),
        ip.into(),
        SocketAddr::new(ip, 80).into(),
    ];
    assert_eq!(keys[0], keys[1]);
    assert_eq!(keys[0].to_string(), "a");
}

#[test]
fn gates_are_asked() {
    block_on(async {
        let mut group: Group<Boxed<'_, usize, &'static str>> =
            Group::new().with_limit(2).with_gate(|ask: &errgroup::Ask<'_>| {
                let _: (Option<&str>, Option<&Key>, usize) = (ask.name(), ask.key(), ask.weight());
                ready(String::from("a guard"))
            });
        group.queue(async { Ok(0) });
        group.go(task(async { Ok(0) }).name("n").key("k")).await.unwrap();
        assert_eq!(group.await, Ok(()));
    });
}

#[test]
fn tokens_and_errors_convert() {
    let token = CancelToken::new();
    let guard: DropGuard = token.clone().drop_guard();
    let _: &CancelToken = guard.token();
    drop(guard);
    assert_eq!(block_on(token.clone().into_future()), Reason::Dropped);
    assert_eq!(block_on(token.cancelled()), Reason::Dropped);
    let error: CancelError = Reason::Deadline.into();
    let io: std::io::Error = error.into();
    assert_eq!(io.kind(), std::io::ErrorKind::TimedOut);
    let mut errors = Errors::<&'static str>::default();
    errors.extend(["a"]);
    assert_eq!((errors.len(), errors.first()), (1, Some(&"a")));
    is_error::<Errors<&'static str>>();
    is_error::<Errors<Box<dyn Error>>>();
    is_error::<CancelError>();
    is_error::<TryGoError<fn()>>();
    is_error::<Failure<std::io::Error>>();
    is_unwind_safe::<Handle<Boxed<'static, usize, &'static str>>>();
    is_unwind_safe::<errgroup::future::Closed>();
    fn hashes<T: Hash>() {}
    hashes::<Stats>();
    let _ = token.child().run(async { 1 });
    let _ = (token.cancel(), token.cancel_with(Reason::Done), token.is_cancelled());
}

#[derive(Default)]
struct Watch(usize);

impl Observer for Watch {
    fn on_event(&mut self, event: &Event) {
        let _: (Option<usize>, Option<&str>) = (event.index(), event.name());
        let _: (Option<&Key>, Option<usize>) = (event.key(), event.queue_index());
        match event {
            Event::Queued { queue_index, name, key, weight, priority, daemon, .. } => {
                let _: (&usize, &Option<Arc<str>>, &Option<Key>) = (queue_index, name, key);
                let _: (&usize, &i32, &bool) = (weight, priority, daemon);
            }
            Event::Started { index, queue_index, name, key, weight, priority, daemon, .. } => {
                let _: (&usize, &Option<usize>) = (index, queue_index);
                let _: (&Option<Arc<str>>, &Option<Key>) = (name, key);
                let _: (&usize, &i32, &bool) = (weight, priority, daemon);
            }
            Event::Finished { outcome, .. } => {
                self.0 += usize::from(matches!(outcome, Outcome::Ok));
            }
            Event::Stopped(_) | Event::Rejected { .. } | Event::LimitChanged { .. } => {}
            _ => {}
        }
    }
}

impl fmt::Display for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[test]
fn an_observer_is_told() {
    let group = Jobs::new().with_observer(Watch::default());
    assert_eq!(block_on(group), Ok(()));
}

#[test]
fn a_group_on_tokio_takes_its_spawn_as_it_stands() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut group = Group::on(tokio::spawn).with_limit(2);
        for n in 0..4_usize {
            group.go(async move { if n < 9 { Ok(n) } else { Err("nine") } }).await.unwrap();
        }
        assert_eq!(group.await, Ok(()));
    });
}

// === what goes on inside ===

fn is_value<T: Clone + Debug + Send + Sync + Unpin + UnwindSafe + RefUnwindSafe + 'static>() {}
fn is_equal<T: Eq>() {}
fn is_small<T: Copy + Eq + Debug>() {}

#[test]
fn a_snapshot_is_a_plain_value_with_public_fields() {
    is_value::<Snapshot>();
    is_value::<ChildSnapshot>();
    is_value::<KeySnapshot>();
    is_value::<Cause>();
    is_value::<Phase>();
    is_value::<ChildState>();
    is_value::<WaitsFor>();
    is_equal::<Snapshot>();
    is_equal::<ChildSnapshot>();
    is_equal::<KeySnapshot>();
    is_equal::<Cause>();
    is_small::<Phase>();
    is_small::<ChildState>();
    is_small::<WaitsFor>();
    fn is_hash<T: Hash>() {}
    is_hash::<Phase>();
    is_hash::<WaitsFor>();

    let mut group = Jobs::new().with_name("n").with_limit(1).with_key_limit(1);
    group.queue(task(pending()).name("a").key("k").priority(2));
    group.queue(task(pending()).weight(3));
    group.queue(task(pending()).key("k"));
    let of_handle: Snapshot = group.handle().snapshot();
    let _: bool = group.handle().is_starved();
    let snapshot: Snapshot = group.snapshot();
    assert_eq!(of_handle, snapshot);
    let Snapshot { name, phase, reason, stats, room, holds, .. } = &snapshot;
    let _: (&Option<Arc<str>>, &Phase, &Option<Reason>) = (name, phase, reason);
    let _: (&Stats, &usize, &usize) = (stats, room, holds);
    let Snapshot { is_polled, is_starved, children, omitted, keys, groups, .. } = &snapshot;
    let _: (&bool, &bool, &usize) = (is_polled, is_starved, omitted);
    let _: (&Vec<ChildSnapshot>, &Vec<KeySnapshot>, &Vec<Snapshot>) = (children, keys, groups);
    let ChildSnapshot { index, name, key, weight, priority, daemon, state, polls, .. } =
        &children[0];
    let _: (&Option<usize>, &Option<Arc<str>>, &Option<Key>) = (index, name, key);
    let _: (&usize, &i32, &bool, &ChildState) = (weight, priority, daemon, state);
    let _: &Option<usize> = polls;
    let KeySnapshot { key, limit, room, waiting, .. } = &keys[0];
    let _: (&Key, &Option<usize>, &usize, &usize) = (key, limit, room, waiting);
    let causes: Vec<Cause> = snapshot.causes();
    for cause in &causes {
        assert!(!cause.to_string().ends_with('.') && !cause.to_string().contains('\n'));
    }
    let text = snapshot.to_string();
    assert!(text.starts_with("group \"n\": open, ") && text.ends_with('\n'), "{text}");
    // A field that `Debug` leaves out is missed.
    assert!(format!("{snapshot:?}").contains("omitted: "), "{snapshot:?}");

    let mut results = Jobs::new().results();
    results.queue(pending());
    let _: Snapshot = results.snapshot();
}

/// If one of these enums could not have more variants later, the last arm would be a warning.
#[test]
#[deny(unreachable_patterns)]
fn the_enums_of_a_snapshot_may_have_more_variants_later() {
    fn of_phase(phase: Phase) {
        match phase {
            Phase::Open | Phase::Closing | Phase::Stopped | Phase::Ended => {}
            _ => {}
        }
    }
    fn of_wait(waits_for: WaitsFor) {
        match waits_for {
            WaitsFor::Turn | WaitsFor::Room | WaitsFor::Gate | WaitsFor::Permit => {}
            WaitsFor::Key | WaitsFor::Keys => {}
            _ => {}
        }
    }
    fn of_state(state: ChildState) {
        match state {
            ChildState::Queued { behind, waits_for, .. } => {
                let _: (usize, WaitsFor) = (behind, waits_for);
            }
            ChildState::Offered { behind, waits_for, inside, .. } => {
                let _: (usize, WaitsFor, Option<usize>) = (behind, waits_for, inside);
            }
            ChildState::Granted | ChildState::Reserved | ChildState::Blocked => {}
            ChildState::Unpolled | ChildState::Woken | ChildState::Polled => {}
            ChildState::Waiting | ChildState::Spawned | ChildState::Completed => {}
            ChildState::Unfetched | ChildState::Running => {}
            _ => {}
        }
    }
    fn of_cause(cause: Cause) {
        match cause {
            Cause::Starved | Cause::Paused | Cause::Daemons | Cause::Gate | Cause::Permit => {}
            Cause::Polled { index, name, .. } => {
                let _: (Option<usize>, Option<Arc<str>>) = (index, name);
            }
            Cause::Unpolled { children: n, .. }
            | Cause::Reserved { slots: n, .. }
            | Cause::Unfetched { results: n, .. }
            | Cause::Children { waiting: n, .. }
            | Cause::Held { holds: n, .. } => {
                let _: usize = n;
            }
            Cause::Granted { callers, blocked, .. } => {
                let _: (usize, usize) = (callers, blocked);
            }
            Cause::Room { weight, room, limit, .. } => {
                let _: (usize, usize, Option<usize>) = (weight, room, limit);
            }
            Cause::Key { key, room, limit, waiting, .. } => {
                let _: (Key, usize, Option<usize>, usize) = (key, room, limit, waiting);
            }
            Cause::Draining { reason, running, .. } => {
                let _: (Reason, usize) = (reason, running);
            }
            _ => {}
        }
    }
    of_phase(Phase::Open);
    of_wait(WaitsFor::Turn);
    of_state(ChildState::Running);
    of_cause(Cause::Starved);
}

#[test]
fn a_watchdog_is_a_future_of_its_own() {
    let mut group = Jobs::new();
    group.queue(async { Ok(1) });
    let mut dog: Watchdog<_, _, _> = watchdog(
        &group.handle(),
        || Box::pin(pending::<()>()),
        |it: Snapshot| {
            let _: bool = it.is_starved;
        },
    );
    fn is_static<T: Send + 'static>(_: &T) {}
    is_static(&dog);
    is_fused(&dog);
    assert!(format!("{dog:?}").starts_with("Watchdog"));
    block_on(async {
        // It keeps nothing open, and is not the one that polls the group.
        let (output, ()) = futures::join!(group, &mut dog);
        assert_eq!(output, Ok(()));
    });
    assert!(dog.is_terminated());
    // A timer that is not `Unpin` and a report that borrows are fine.
    let (seen, group) = (std::cell::Cell::new(0), Jobs::new());
    let dog = watchdog(&group.handle(), || async {}, |_| seen.set(seen.get() + 1));
    drop(group);
    block_on(dog);
    assert_eq!(seen.get(), 0);
}

#[test]
fn observers_of_polls_and_records_have_their_shapes() {
    fn shares<T: Debug + Send + Sync>(_: &T) {}
    fn is_observer<T: Observer>(_: &mut T) {}
    let report = |poll: &SlowPoll<'_>| {
        let _: (usize, Option<&str>, Duration) = (poll.index(), poll.name(), poll.took());
        let _: String = format!("{poll} {poll:?}");
    };
    let mut slow = SlowPolls::new(Duration::from_secs(1), || Duration::ZERO, report);
    shares(&slow);
    is_observer(&mut slow);
    let around: Option<Arc<dyn PollObserver>> = slow.around();
    assert!(around.is_some());
    assert_eq!(format!("{slow:?}"), "SlowPolls(..)");
    is_send_sync::<SlowPoll<'static>>();
    is_small_copy::<SlowPoll<'static>>();
    fn is_small_copy<T: Copy + Debug + Display>() {}

    let mut record = JsonLines::new(|| Duration::ZERO, |_: &str| {}).with_limit(3);
    shares(&record);
    is_observer(&mut record);
    assert_eq!(format!("{record:?}"), "JsonLines(..)");
    let mut both = (slow, record);
    is_observer(&mut both);
    assert_eq!(block_on(Jobs::new().with_observer(both)), Ok(()));
}
