//! The kinds of groups, and their handles without the kind.

use std::rc::Rc;

use errgroup::future::Closed;
use errgroup::{
    Boxed, CancelToken, Child, ChildInfo, Children, Event, Group, Handle, Hold, Joinable, Key,
    LocalBoxed, Plain, Policy, Reason, Slot, Snapshot, Spawned, SpawnedLocal, Stats, Task,
    TryGoError, Verdict,
};
use futures::future::{FutureExt, LocalBoxFuture};
use futures::stream::StreamExt;

use crate::env::{Boom, Env, Member, env};
use crate::kid::{Counted, Kept, Kid};

/// A kind of group, with the children that it takes.
pub trait Flavor: Sized + 'static {
    type Kids: Children<Ok = (), Err = u32> + 'static;
    /// Children without, and with a handle of their own.
    type One: Child<Self::Kids> + 'static;
    type Other: Child<Self::Kids> + 'static;
    const SPAWNED: bool;

    fn group(env: &Rc<Env>, at: usize) -> Group<Self::Kids>;
    fn one(child: Task<Kid>) -> Self::One;
    fn other(child: Task<Kid>) -> Self::Other;
}

macro_rules! flavor {
    ($name:ident, $kids:ty, $one:ty, $other:ty, $spawned:expr, $make:expr, $f:expr, $g:expr) => {
        pub struct $name;

        impl Flavor for $name {
            type Kids = $kids;
            type One = $one;
            type Other = $other;
            const SPAWNED: bool = $spawned;

            fn group(env: &Rc<Env>, at: usize) -> Group<$kids> {
                let member = env.group(at);
                let make: fn(usize) -> Group<$kids> = $make;
                let mut group = make(at);
                let mut settings = String::new();
                let limit = (env.below(3) != 0).then(|| env.below(4));
                let limit = limit.filter(|limit| *limit > 0 || member.handled.get());
                match limit {
                    Some(limit) if limit > 0 => group = group.with_limit(limit),
                    limit => group.set_limit(limit),
                }
                member.limit.set(limit);
                if env.one_in(4) {
                    let parent = env.roots.borrow()[0].clone();
                    group = group.with_parent(&parent);
                    settings += " parent";
                }
                if member.shares.get() {
                    let semaphore = env.semaphore.borrow().clone().expect("there is one");
                    group = group.with_semaphore(semaphore);
                    settings += " semaphore";
                }
                if env.one_in(6) {
                    group = group.with_queue_limit(env.below(4));
                }
                member.key_limit.set(None);
                if env.one_in(4) {
                    let limit = 1 + env.below(2);
                    group = group.with_key_limit(limit);
                    member.key_limit.set(Some(limit));
                    settings += " keys";
                }
                if env.one_in(6) {
                    settings += " deadline";
                    group = group.with_deadline(env.timer(at));
                }
                if env.one_in(5) {
                    settings += " grace";
                    let timer = env.timer(at);
                    group = group.with_grace(move || {
                        crate::env::env().rare(at);
                        timer
                    });
                } else if env.one_in(5) {
                    settings += " drop_on_stop";
                    member.drops.set(true);
                    group = group.drop_on_stop();
                }
                if env.one_in(6) {
                    settings += " observer";
                    group = group.with_observer(move |_: &Event| crate::env::env().rare(at));
                }
                for _ in 0..env.below(5).saturating_sub(2) {
                    settings += " gate";
                    member.gated.set(true);
                    member.gates.set(member.gates.get() + 1);
                    group = group.with_gate(move |_| {
                        let env = crate::env::env();
                        env.rare(at);
                        let timer = env.timer(at);
                        let waits = Counted::new(at, |member| &member.gate_futures);
                        async move {
                            timer.await;
                            drop(waits);
                            (Counted::new(at, |member| &member.guards), Kept(at))
                        }
                    });
                }
                env.note(|| format!("group {at}: {} {limit:?}{settings}", stringify!($name)));
                group
            }

            fn one(child: Task<Kid>) -> $one {
                let make: fn(Task<Kid>) -> $one = $f;
                make(child)
            }

            fn other(child: Task<Kid>) -> $other {
                let make: fn(Task<Kid>) -> $other = $g;
                make(child)
            }
        }
    };
}

type Plainly = Task<Kid>;
type Jointly = Task<Joinable<Kid, ()>>;

fn joinable(child: Task<Kid>) -> Jointly {
    let env = env();
    let id = env.kids.borrow().len() - 1;
    let (child, handle) = child.joinable();
    match env.below(4) {
        0 => {}
        1 => env.joins.borrow_mut().push((id, handle.abort_on_drop())),
        _ => env.joins.borrow_mut().push((id, handle)),
    }
    child
}

fn same(child: Task<Kid>) -> Plainly {
    child
}

flavor!(New, Boxed<'static, (), u32>, Plainly, Jointly, false, |_| Group::new(), same, joinable);
flavor!(
    Local,
    LocalBoxed<'static, (), u32>,
    Plainly,
    Jointly,
    false,
    |_| Group::local(),
    same,
    joinable
);
flavor!(Unboxed, Plain<Kid>, Plainly, Plainly, false, |_| Group::unboxed(), same, same);
flavor!(
    UnboxedJoinable,
    Plain<Joinable<Kid, ()>>,
    Jointly,
    Jointly,
    false,
    |_| Group::unboxed(),
    joinable,
    joinable
);
flavor!(
    On,
    Spawned<(), u32>,
    Plainly,
    Jointly,
    true,
    |at| Group::on(move |future| env().execute(at, future)),
    same,
    joinable
);
flavor!(
    OnLocal,
    SpawnedLocal<(), u32>,
    Plainly,
    Jointly,
    true,
    |at| Group::on_local(move |future| env().execute(at, future)),
    same,
    joinable
);

/// A policy that stops at some results.
pub struct Stops {
    pub at: usize,
    pub rule: usize,
}

impl Policy<(), u32> for Stops {
    type Output = ();

    fn on_child(&mut self, _: &ChildInfo<'_>, result: Result<(), u32>) -> Verdict {
        env().rare(self.at);
        match (self.rule, result) {
            (0, Err(_)) => Verdict::Stop(Reason::Failed),
            (1, Ok(())) => Verdict::Stop(Reason::Done),
            _ => Verdict::Continue,
        }
    }

    fn finish(&mut self, _: &Reason) {
        env().rare(self.at);
    }
}

// --- handles ---

/// A handle of a group of any kind.
pub trait AnyHandle {
    fn go(&self) -> LocalBoxFuture<'static, bool>;
    fn feed(&self) -> LocalBoxFuture<'static, usize>;
    fn reserve(&self) -> LocalBoxFuture<'static, Option<Box<dyn AnySlot>>>;
    fn try_go(&self);
    fn queue(&self);
    fn try_queue(&self);
    fn token(&self) -> CancelToken;
    fn set_limit(&self, limit: Option<usize>);
    fn limit(&self) -> Option<usize>;
    fn set_key_limit(&self, key: u32, limit: Option<usize>);
    fn stats(&self) -> Stats;
    fn snapshot(&self) -> Snapshot;
    fn is_stopped(&self) -> bool;
    fn hold(&self) -> Hold;
    fn close(&self);
    fn is_closing(&self) -> bool;
    fn closed(&self) -> Closed;
}

pub trait AnySlot {
    /// Takes a child, or drops it.
    fn go(self: Box<Self>);
}

/// Counts a feed, until it is dropped.
struct Feeding(Rc<Member>);

impl Feeding {
    fn new(at: usize) -> Self {
        let member = env().group(at);
        member.unsure.set(true);
        member.feeds.set(member.feeds.get() + 1);
        Self(member)
    }
}

impl Drop for Feeding {
    fn drop(&mut self) {
        self.0.feeds.set(self.0.feeds.get() - 1);
    }
}

pub struct HandleOf<F: Flavor>(pub Handle<F::Kids>, pub usize);

struct SlotOf<F: Flavor>(Slot<F::Kids>, usize);

/// Notes what has become of a child that was offered.
pub fn answered<A, E>(member: &Member, answer: Result<(), E>, child: impl FnOnce(E) -> A) {
    if let Err(error) = answer {
        member.given_back.set(member.given_back.get() + 1);
        drop(child(error));
    }
}

/// Makes a child, and offers it.
macro_rules! offer {
    ($flavor:ty, $at:expr, |$child:ident| $offer:expr) => {{
        let (child, joinable) = crate::env::env().new_kid($at);
        if joinable {
            let $child = <$flavor as $crate::kinds::Flavor>::other(child);
            $offer
        } else {
            let $child = <$flavor as $crate::kinds::Flavor>::one(child);
            $offer
        }
    }};
}
pub(crate) use offer;

impl<F: Flavor> AnyHandle for HandleOf<F> {
    fn go(&self) -> LocalBoxFuture<'static, bool> {
        offer!(F, self.1, |child| {
            let go = self.0.go(child);
            async move { go.await.is_ok() }.boxed_local()
        })
    }

    fn feed(&self) -> LocalBoxFuture<'static, usize> {
        let env = env();
        let (feed, counted) = (self.0.feed(env.stream(self.1).map(F::one)), Feeding::new(self.1));
        async move {
            let _counted = counted;
            feed.await
        }
        .boxed_local()
    }

    fn reserve(&self) -> LocalBoxFuture<'static, Option<Box<dyn AnySlot>>> {
        let (reserve, at) = (self.0.reserve(), self.1);
        async move {
            let slot = reserve.await.ok()?;
            Some(Box::new(SlotOf::<F>(slot, at)) as Box<dyn AnySlot>)
        }
        .boxed_local()
    }

    fn try_go(&self) {
        let member = env().group(self.1);
        offer!(F, self.1, |child| answered(&member, self.0.try_go(child), TryGoError::into_inner));
    }

    fn queue(&self) {
        offer!(F, self.1, |child| self.0.queue(child));
    }

    fn try_queue(&self) {
        let member = env().group(self.1);
        offer!(F, self.1, |child| answered(
            &member,
            self.0.try_queue(child),
            TryGoError::into_inner
        ));
    }

    fn token(&self) -> CancelToken {
        self.0.token().clone()
    }

    fn set_limit(&self, limit: Option<usize>) {
        let member = env().group(self.1);
        Member::raise(&member.limit, limit);
        self.0.set_limit(limit);
    }

    fn limit(&self) -> Option<usize> {
        self.0.limit()
    }

    fn set_key_limit(&self, key: u32, limit: Option<usize>) {
        let member = env().group(self.1);
        Member::raise(&member.key_limit, limit);
        self.0.set_key_limit(&Key::from(key), limit);
    }

    fn stats(&self) -> Stats {
        self.0.stats()
    }

    fn snapshot(&self) -> Snapshot {
        self.0.snapshot()
    }

    fn is_stopped(&self) -> bool {
        self.0.is_stopped()
    }

    fn hold(&self) -> Hold {
        self.0.hold()
    }

    fn close(&self) {
        self.0.close();
    }

    fn is_closing(&self) -> bool {
        self.0.is_closing()
    }

    fn closed(&self) -> Closed {
        self.0.closed()
    }
}

impl<F: Flavor> AnySlot for SlotOf<F> {
    fn go(self: Box<Self>) {
        let member = env().group(self.1);
        offer!(F, self.1, |child| answered(&member, self.0.go(child), |stopped| stopped
            .into_inner()));
    }
}

/// Throws, unless a panic is on its way.
pub fn boom() {
    if !std::thread::panicking() {
        env().boomed.set(true);
        std::panic::resume_unwind(Box::new(Boom));
    }
}
