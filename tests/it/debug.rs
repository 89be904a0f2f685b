//! What `Debug` prints of each type begins with the type's name, though the rest is not promised.

use std::fmt::Debug;
use std::future::{pending, ready};

use errgroup::{
    AllErrors, Boxed, CancelToken, Collect, FirstDone, FirstErr, FirstOk, Group, Key, Settle,
    SlowPolls, for_each, hedge, map, map_stream, task, value, watchdog,
};
use futures::stream;

use crate::common::job;
use crate::on::Pool;

#[track_caller]
fn is_named(name: &str, it: impl Debug) {
    let printed = format!("{it:?}");
    assert!(printed.starts_with(name), "{printed} does not begin with {name}");
}

#[test]
fn groups_and_what_belongs_to_them() {
    let mut group: Group<Boxed<'_, usize, &str>> = Group::new().with_limit(1);
    is_named("Group", &group);
    is_named("Go", group.go(job(ready(Ok(1)))));
    is_named("Feed", group.feed(stream::iter([job(ready(Ok(1)))])));
    is_named("Ready", group.ready());
    let handle = group.handle();
    is_named("Handle", &handle);
    is_named("Hold", handle.hold());
    is_named("Closed", handle.closed());
    is_named("Reserve", handle.reserve());
    is_named("Slot", futures::executor::block_on(handle.reserve()).unwrap());
    is_named("Go", handle.go(job(ready(Ok(1)))));
    is_named("Stats", group.stats());
    is_named("Snapshot", group.snapshot());
    is_named("Watchdog", watchdog(&handle, pending::<()>, |_| ()));
    group.queue(job(pending()));
    is_named("AtLimit", group.try_go(job(pending())).unwrap_err());
    group.token().cancel();
    is_named("Stopped", futures::executor::block_on(group.go(job(pending()))).unwrap_err());
    is_named("Results", Group::<Boxed<'_, usize, &str>>::new().results());
    let pool = Pool::new();
    let spawned: Group<errgroup::Spawned<usize, &str>> = Group::on(pool.spawn());
    is_named("Group", &spawned);
}

#[test]
fn scopes_and_functions() {
    is_named("Scope", Group::<Boxed<'_, usize, &str>>::new().scope(async |_| ()));
    is_named(
        "TryScope",
        Group::<Boxed<'_, usize, &str>>::new().try_scope(async |_| Ok::<_, &str>(())),
    );
    is_named("Map", map(1, [1], |_| job(ready(Ok(1)))));
    is_named("MapStream", map_stream(1, stream::iter([1]), |_| job(ready(Ok(1)))));
    is_named("ForEach", for_each(1, [1], |_| job(ready(Ok(1)))));
    is_named("Hedge", hedge(1, |_| job(ready(Ok(1))), |_| pending::<()>()));
}

#[test]
fn children_and_policies() {
    type Policies = FirstErr<&'static str>;
    is_named("FirstErr", Policies::default());
    is_named("Collect", Collect::<u8, ()>::new());
    is_named("Settle", Settle::<u8, ()>::new());
    is_named("FirstOk", FirstOk::<u8, ()>::new());
    is_named("FirstDone", FirstDone::<u8, ()>::new());
    is_named("AllErrors", AllErrors::<()>::new());
    let (joinable, handle) = task(ready(Ok::<_, ()>(1))).joinable();
    is_named("ChildHandle", &handle);
    is_named("Task", joinable);
    is_named("Key", Key::from(1_u32));
    is_named(
        "SlowPolls",
        SlowPolls::new(std::time::Duration::ZERO, || std::time::Duration::ZERO, |_| ()),
    );
    is_named("Value", value(ready(1)));
}

#[test]
fn tokens() {
    let token = CancelToken::new();
    is_named("CancelToken", &token);
    is_named("Cancelled", token.cancelled());
    is_named("Run", token.run(pending::<()>()));
    is_named("DropGuard", token.drop_guard());
}
