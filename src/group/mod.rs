//! The group, and what can be asked of it. How one is made is in `build.rs` and `policies.rs`. Its
//! polls are in `poll.rs`, their rounds in `drive.rs`, its stop and its end in `stop.rs`. What it
//! polls and tells beside the children is in `hooks.rs`, `gates.rs` and `observer.rs`. The methods
//! that return futures are beside these, in `future/`.

mod build;
pub(crate) mod drive;
mod gates;
mod hooks;
mod observer;
mod policies;
pub(crate) mod poll;
mod stop;
mod surround;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::panic::{RefUnwindSafe, UnwindSafe};

use self::drive::{Driven, Extent};
use self::hooks::{Hooks, OptionalHooks};
use crate::admission::{Admission, Refused, Vacancy};
use crate::child::set::{ChildSet, SpawnChild};
use crate::child::{Child, Children, Kind};
use crate::key::Key;
use crate::observe::Outcome;
use crate::policy::{FirstErr, Policy};
use crate::reason::Reason;
use crate::set::Budget;
use crate::snapshot::{ChildState, Snapshot};
use crate::stats::Stats;
use crate::token::CancelToken;
use crate::util::panic::FirstPanic;

/// A bounded set of fallible futures that run together, in the task that awaits it.
///
/// A group is a future. It holds its children and polls those that were woken. It admits new ones
/// only while fewer than its [limit](Self::with_limit) run. It resolves when nothing runs and
/// nothing waits, to what its [policy](Policy) makes of the children's results. By default that is
/// the first `Err`, or `Ok(())`; the children's `Ok` values are dropped ([`collect`](Self::collect)
/// keeps them). Awaited by `(&mut group).await`, it can still be asked for its
/// [`stats`](Self::stats) afterwards.
///
/// `C` says how the children are held. It follows from the constructor:
///
/// | constructor | `C` | children | cost of a child |
/// | --- | --- | --- | --- |
/// | [`new`](Self::new) | [`Boxed`](crate::Boxed) | any futures that are `Send` | a box |
/// | [`local`](Self::local) | [`LocalBoxed`](crate::LocalBoxed) | any futures | a box |
/// | [`unboxed`](Self::unboxed) | [`Plain`](crate::Plain) | futures of one type | none |
/// | [`on`](Self::on) | [`Spawned`](crate::Spawned) | `Send + 'static` | a spawn |
/// | [`on_local`](Self::on_local) | [`SpawnedLocal`](crate::SpawnedLocal) | `'static` | a spawn |
///
/// `P` is the policy and `O` its output. Both have defaults, so a group's type is `Group<Boxed<'a,
/// T, E>>`. Except for `on` and `on_local`, a group spawns nothing; it needs no runtime.
///
/// See [Hazards](crate::guide::hazards) for what to watch out for, and [a
/// table](crate::guide::admission#how-do-i-add-a-child) of the ways to add a child.
///
/// # Errors
///
/// By default the first child to finish with an `Err` decides (in the order in which children are
/// polled), and its error is returned as it is. At that moment the group *stops*. Its
/// [token](Self::token) is cancelled, nothing more is admitted, and what waits in the queue is
/// dropped without being polled. The children that run are not dropped. They are told through the
/// token and *drained*: polled until they finish, so that they can clean up. A child that has room
/// runs, even if it has not been polled yet: it begins after the stop. So does one that got the
/// room of a sibling which finished in the same poll, before the failure.
///
/// Other policies stop at other results, or at none: [`all_errors`](Self::all_errors),
/// [`settle`](Self::settle), [`first_ok`](Self::first_ok), [`first_done`](Self::first_done).
///
/// # Cancellation
///
/// A cancel of the token stops the group, whether it comes from a clone of the token, from a
/// [parent](Self::with_parent) or from the [deadline](Self::with_deadline). That by itself is no
/// error, unless [`err_on_cancel`](Self::err_on_cancel) makes it one: without that, an `Ok` output
/// may lack the results of children that never started or ended early.
/// [`with_grace`](Self::with_grace) bounds how long the running children may go on after a stop.
/// With [`drop_on_stop`](Self::drop_on_stop), or a child that is
/// [`until_stop`](crate::Task::until_stop), they are dropped at once.
///
/// One child is ended by itself if it is [joinable](crate::Task::joinable): its handle aborts it.
///
/// # Drop
///
/// Dropping a group cancels its token ([`Reason::Dropped`](crate::Reason::Dropped)) and then drops
/// the children. A panic that the group has caught, and that has not resumed yet, is dropped too.
/// If destructors of children panic, all children are dropped still, and the first of these panics
/// resumes out of the drop.
///
/// # Panics
///
/// With the feature `std`, a panic of a child stops the group
/// ([`Reason::Panicked`](crate::Reason::Panicked)). Its siblings are drained, and then the panic
/// resumes out of the group's poll, with its own payload. It outranks an `Err`. Of several panics
/// the first one resumes.
///
/// A panic of a child's destructor is treated in the same way, and so is one of the policy, the
/// deadline, the grace or the observer. A group whose panic has resumed has resolved.
///
/// Without `std`, a panic is not caught.
///
/// # Fairness
///
/// One poll of a group polls each woken child once a round, and at most 4,096 children in all. Then
/// it wakes its own task and yields. A child that wakes itself while it is polled has yielded: it
/// is polled again in the group's next poll. After its first poll, a child is polled only if it was
/// woken.
///
/// If a few children in a row yield, with none finished between, the poll ends as well, and the
/// next one goes on there. It is then the executor that wants the task to yield: tokio makes all
/// its resources pending once a task has used its budget.
///
/// # Cost
///
/// It takes constant time to add a child, to wait, to be admitted, to give up and to end, however
/// many others wait. With priorities or keys, the time grows with the logarithm of their number.
/// Only operations on many children at once have no such bound:
///
/// - A [limit](Self::set_limit) that is raised admits in one call all that it makes room for.
/// - A stop drops all that is queued in one poll, and wakes all `go`s that wait;
///   [`close`](Self::close) wakes them, too.
/// - An [observer](Self::with_observer) is told in one poll all that has happened since the last.
///
/// An option costs the groups that use it, and no others. The docs of most say how much, in
/// instructions of a release build for a child that is queued and yields once. Without options such
/// a child takes about 430. (`benches/instructions/run` counts them.)
///
/// # Examples
///
/// ```
/// use errgroup::Group;
/// # async fn fetch(url: &str) -> Result<(), std::io::Error> { Ok(()) }
/// # async fn run(urls: Vec<String>) -> Result<(), std::io::Error> {
/// let mut group = Group::new().with_limit(8);
/// for url in &urls {
///     if group.go(fetch(url)).await.is_err() {
///         break; // it has stopped: no more work
///     }
/// }
/// group.await?; // the first error, or Ok(())
/// # Ok(())
/// # }
/// # futures::executor::block_on(run(vec!["a".into()])).unwrap();
/// ```
#[doc(alias("JoinSet", "TaskGroup", "TaskTracker", "FuturesUnordered", "nursery", "join"))]
#[must_use = "a group polls its children only while it is polled: `.await` it"]
pub struct Group<
    C: Kind,
    P = FirstErr<<C as Children>::Err>,
    O = <P as Policy<<C as Children>::Ok, <C as Children>::Err>>::Output,
> {
    pub(crate) base: Base<C>,
    /// Gone once it has panicked.
    pub(crate) policy: Option<P>,
    /// Maps the output if other code has cancelled the token. Returns `None` if that has panicked.
    on_cancel: Option<fn(&mut Self, O) -> Option<O>>,
    /// How the group is polled and finished, captured where the bounds were known.
    advance: fn(&mut Self, &mut Budget, Extent) -> Driven,
    finish: fn(&mut P, &Reason) -> O,
}

/// The part of a [`Group`] that does not depend on its policy.
pub(crate) struct Base<C: Kind> {
    pub(crate) admission: Admission<C>,
    /// The running children.
    pub(crate) set: C::Set,
    /// What is left for the task's poll, which is over once the group, or a `go` or a `feed` of it,
    /// is pending.
    budget: Budget,
    /// The first panic of user code.
    pub(crate) panic: FirstPanic,
    /// What the group polls and tells beside its children, such as a deadline or an observer. Made
    /// also by `drop_on_stop`.
    hooks: OptionalHooks<C>,
    /// It was the group itself that cancelled its token, and not for its deadline.
    stopped_by_group: bool,
    /// The policy was set, so another one would undo it.
    has_policy: bool,
    on_stop: OnStop,
}

/// What becomes of the running children at a stop.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OnStop {
    /// They are polled on until they finish.
    Drain,
    /// They are dropped.
    Drop,
    /// If the policy stops the group, its poll ends there, and they are polled no more: the owner
    /// of the group is about to drop them.
    Leave,
}

// === what can be asked of any group ===

impl<C: Kind, P, O> Group<C, P, O> {
    /// Returns the group's cancel token.
    ///
    /// The token is cancelled when the group stops, resolves or is dropped. Cancelling it stops the
    /// group; an `Ok` output may be incomplete then, unless [`err_on_cancel`](Self::err_on_cancel)
    /// makes the cancel an error. Other code, and the children themselves, hold clones of it.
    ///
    /// A child whose work is of no use after a stop is wrapped, `token.run(child)`, or marked as
    /// [`until_stop`](crate::Task::until_stop).
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::{Group, Reason};
    ///
    /// # futures::executor::block_on(async {
    /// let mut group = Group::new();
    /// let token = group.token().clone();
    /// group.queue(async move { Ok(token.cancelled().await) });
    /// group.queue(async { Err("the cause") });
    /// let token = group.token().clone();
    /// assert_eq!(group.await, Err("the cause"));
    /// assert_eq!(token.reason(), Some(Reason::Failed));
    /// # });
    /// ```
    pub fn token(&self) -> &CancelToken {
        self.base.admission.token()
    }

    /// Returns how many children may run at a time, or `None` if there is no limit.
    ///
    /// # Examples
    ///
    /// ```
    /// # use errgroup::{Boxed, Group};
    /// let group = Group::<Boxed<'_, (), ()>>::new();
    /// assert_eq!(group.limit(), None);
    /// assert_eq!(group.with_limit(3).limit(), Some(3));
    /// ```
    pub fn limit(&self) -> Option<usize> {
        self.base.admission.limit()
    }

    /// Changes the limit, at any time.
    ///
    /// A higher limit admits children that wait at once. A lower one lets the running children
    /// finish. `Some(0)` pauses admission, and `None` takes the limit away.
    ///
    /// # Cost
    ///
    /// A higher limit admits in this one call all that it makes room for, and the group's next poll
    /// takes them in. The time grows with their number; to bound it, raise the limit step by step.
    /// A lower limit takes room back from `go`s that were not polled since they got it, 64 at a
    /// time: in this call, in those that follow, and in the group's polls.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    ///
    /// let mut group = Group::new().with_limit(1);
    /// for _ in 0..5 {
    ///     group.queue(async { Ok::<(), ()>(()) });
    /// }
    /// group.set_limit(Some(3));
    /// assert_eq!((group.stats().running, group.stats().queued), (3, 2));
    /// ```
    pub fn set_limit(&self, limit: Option<usize>) {
        self.base.admission.set_limit(limit);
    }

    /// Changes the limit of one [key](crate::Task::key), at any time.
    ///
    /// It holds in place of the one that [`with_key_limit`](crate::Group::with_key_limit) set for
    /// each key. `Some(0)` pauses the children of the key, and `None` takes the limit away. As in
    /// [`set_limit`](Self::set_limit), a lower limit lets the running children finish.
    ///
    /// Room that is reserved for a waiting `go` of a handle is not taken back. If the key is over
    /// its limit when such a `go` is polled next, the `go` returns. Its child then waits in the
    /// queue until the key has room, and one that came later may begin before it. A waiting `go` of
    /// the group itself waits on.
    ///
    /// The group keeps the limit while it differs from that of the other keys, whether children of
    /// the key come or not.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::{Group, Key, task};
    ///
    /// let mut group = Group::new().with_key_limit(1);
    /// for _ in 0..4 {
    ///     group.queue(task(async { Ok::<(), ()>(()) }).key("slow.example"));
    /// }
    /// assert_eq!(group.stats().running, 1);
    /// group.set_key_limit(&Key::from("slow.example"), Some(3));
    /// assert_eq!(group.stats().running, 3);
    /// ```
    pub fn set_key_limit(&self, key: &Key, limit: Option<usize>) {
        self.base.admission.share().set_key_limit(key, limit);
    }

    /// Returns the group's numbers, taken at one moment.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    ///
    /// let mut group = Group::new().with_limit(1);
    /// group.queue(async { Ok::<(), ()>(()) });
    /// group.queue(async { Ok(()) });
    /// let stats = group.stats();
    /// assert_eq!((stats.limit, stats.running, stats.queued), (Some(1), 1, 1));
    /// ```
    #[doc(alias = "progress")]
    pub fn stats(&self) -> Stats {
        self.base.admission.stats()
    }

    /// Returns what is going on in the group: its children, and what they wait for.
    ///
    /// Nothing is kept for it, unless the group has a [name](Self::with_name); so it costs nothing
    /// before it is asked for. Then its cost grows with the number of children that run or wait.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::{Group, snapshot::ChildState};
    ///
    /// let mut group = Group::new().with_limit(1);
    /// group.queue(async { Ok::<(), ()>(()) });
    /// group.queue(async { Ok(()) });
    /// let snapshot = group.snapshot();
    /// assert_eq!(snapshot.children[0].state, ChildState::Unpolled);
    /// println!("{snapshot}");
    /// ```
    pub fn snapshot(&self) -> Snapshot {
        self.inspect(Vec::new())
    }

    /// Returns `true` if the group has stopped: its token is cancelled, and it admits no more
    /// children.
    ///
    /// This is `true` at once after a cancel of the token, without a poll of the group.
    ///
    /// # Examples
    ///
    /// ```
    /// # use errgroup::{Boxed, Group};
    /// let group = Group::<Boxed<'_, (), ()>>::new();
    /// assert!(!group.is_stopped());
    /// group.token().cancel();
    /// assert!(group.is_stopped());
    /// ```
    pub fn is_stopped(&self) -> bool {
        self.base.admission.is_stopped()
    }
}

// === what its futures need of it ===

impl<C: Kind, P, O> Group<C, P, O> {
    /// Admits the child on offer if it need not wait. (Passed like this, a large one is moved as
    /// few times as can be.)
    #[inline]
    pub(crate) fn admit<A: Child<C>>(&mut self, child: &mut Option<A>) -> Result<(), Refused> {
        if <C::Set as ChildSet<C>>::Spawner::SPAWNS {
            self.take_ends_for(child);
        }
        match child.as_mut().and_then(|child| self.base.vacancy_for(child)) {
            Some(vacancy) => {
                vacancy.insert_from(child);
                Ok(())
            }
            None => {
                if let Some(child) = child {
                    self.base.poll_gates_for(child);
                }
                self.base.admission.try_go(child)
            }
        }
    }

    /// Admits the child on offer, now or in its turn. One that is refused counts as dropped, unless
    /// the caller `keeps` it.
    #[inline]
    pub(crate) fn enqueue<A: Child<C>>(
        &mut self,
        child: &mut Option<A>,
        keeps: bool,
    ) -> Result<(), Refused> {
        if <C::Set as ChildSet<C>>::Spawner::SPAWNS {
            self.free_room_of_ended(child);
        }
        match child.as_mut().and_then(|child| self.base.vacancy_for(child)) {
            Some(vacancy) => {
                vacancy.insert_from(child);
                Ok(())
            }
            None => self.base.admission.queue(child, keeps),
        }
    }

    /// Frees the room of children that have ended on their executor, as [`take_ends`] does. But the
    /// group may still become a stream of results if the policy was told nothing; then it is not
    /// told, and the ends are noted.
    ///
    /// [`take_ends`]: Self::take_ends
    #[inline(never)]
    fn free_room_of_ended<A: Child<C>>(&mut self, child: &mut Option<A>) {
        if !self.has_ends() {
            return;
        }
        if self.base.has_policy || self.base.admission.has_told_policy() {
            self.take_ends_for(child);
        } else if self.base.vacancy().is_none() {
            self.base.admission.free_room_of_ended(&mut self.base.set);
        }
    }

    /// Does what [`take_ends`](Self::take_ends) does before a child is offered by what never waits,
    /// and has a budget of its own, unless the group is a stream.
    #[inline(never)]
    fn take_ends_for<A: Child<C>>(&mut self, child: &mut Option<A>) {
        if let Some(child) = child {
            self.base.admission.prepare(child);
        }
        if self.base.admission.keeps_results() {
            // A stream gives these results without a poll of its children. So these count as polled
            // by the task, or a loop of `queue` and `next` would never yield.
            self.base.renew_if_ended();
            return self.take_ends();
        }
        self.take_ends_within(&mut Budget::new());
    }

    /// Tells the policy of the children that have ended on their executor, as far as the budget of
    /// the task's poll allows.
    #[inline]
    pub(crate) fn take_ends(&mut self) {
        if <C::Set as ChildSet<C>>::Spawner::SPAWNS && self.has_ends() {
            let mut budget = self.base.budget;
            self.take_ends_within(&mut budget);
            self.base.budget = budget;
        }
    }

    fn take_ends_within(&mut self, budget: &mut Budget) {
        while self.has_ends() && self.may_tell() && self.advance(budget) == Driven::Progress {}
    }

    /// Returns `true` if children have ended on their executor, and the policy was not told. In the
    /// blocks are those that a spent budget has left.
    fn has_ends(&mut self) -> bool {
        let Base { set, .. } = &mut self.base;
        (set.has_completed() || set.blocks().has_next()) && !self.is_resolved()
    }

    /// Returns `false` if a stream is to take in no result yet. Until the first one has come, it
    /// may still be put in order or be buffered, as long as there is room.
    fn may_tell(&mut self) -> bool {
        let Base { admission, .. } = &mut self.base;
        !admission.keeps_results() || admission.has_told_policy() || self.base.vacancy().is_none()
    }

    /// Frees the room of a finished child whose result was fetched, or that of another one if it
    /// has none.
    #[inline]
    pub(crate) fn release(&mut self, index: usize, outcome: Outcome) {
        self.base.admission.release(index, outcome);
        self.base.admission.admit_next(&mut self.base.set);
        // No child is polled as long as there are results to fetch, which may be long.
        self.base.drop_aborted();
        self.base.call_hook(|calls| calls.deliver_events);
    }

    /// Takes a snapshot. `known` are children that count as running and are not in the set.
    pub(crate) fn inspect(&self, mut known: Vec<(usize, ChildState)>) -> Snapshot {
        self.base.set.inspect(&mut |index, progress| known.push((index, progress.into())));
        known.sort_unstable_by_key(|(index, _)| *index);
        self.base.admission.inspect(&known)
    }

    /// Returns the indexes of the children that have ended.
    pub(crate) fn ended(&self) -> impl Iterator<Item = usize> {
        let mut running = Vec::new();
        self.base.set.inspect(&mut |index, _| running.push(index));
        running.sort_unstable();
        let taken_in = 0..self.base.admission.taken_in();
        taken_in.filter(move |index| running.binary_search(index).is_err())
    }

    /// Returns `true` if the group has given its output or its panic, or is gone.
    pub(crate) fn is_resolved(&self) -> bool {
        self.base.is_resolved()
    }

    /// Takes the group out; what is left in its place is dropped without a trace.
    pub(crate) fn take(&mut self) -> Self {
        let retired = Self { base: self.base.retired(), policy: None, ..*self };
        core::mem::replace(self, retired)
    }

    /// Returns the group with another policy, and the way to poll it that goes with it.
    pub(crate) fn replace_policy<Q, R>(
        mut self,
        policy: Q,
        advance: fn(&mut Group<C, Q, R>, &mut Budget, Extent) -> Driven,
        finish: fn(&mut Q, &Reason) -> R,
    ) -> Group<C, Q, R> {
        let retired = self.base.retired();
        Group {
            base: Base { has_policy: true, ..core::mem::replace(&mut self.base, retired) },
            policy: Some(policy),
            on_cancel: None,
            advance,
            finish,
        }
    }
}

impl<C: Kind> Base<C> {
    pub(crate) fn is_stopped(&self) -> bool {
        self.admission.is_stopped()
    }

    /// Returns the room that there is for a plain child, if the group has no handles.
    #[inline(always)]
    pub(crate) fn vacancy(&mut self) -> Option<Vacancy<'_, C>> {
        self.admission.vacancy(&mut self.set)
    }

    /// Returns the room that there is for a child, if the group has no handles and the child needs
    /// no more than room.
    #[inline(always)]
    pub(crate) fn vacancy_for<A: Child<C>>(&mut self, child: &mut A) -> Option<Vacancy<'_, C>> {
        self.admission.vacancy_for(child, &mut self.set)
    }

    /// Returns the hooks, made now if there are none.
    fn hooks_mut(&mut self) -> &mut Hooks<C> {
        self.hooks.get_or_insert_with(|| Box::new(Hooks::new()))
    }

    fn new(admission: Admission<C>, set: C::Set) -> Self {
        Self {
            admission,
            set,
            budget: Budget::new(),
            panic: FirstPanic::default(),
            hooks: OptionalHooks::NONE,
            stopped_by_group: false,
            has_policy: false,
            on_stop: OnStop::Drain,
        }
    }

    /// Returns the base of a group that is dropped without a trace, since another one takes over
    /// its parts.
    fn retired(&self) -> Self {
        Self::new(self.admission.retired(), self.set.empty())
    }
}

// A child that panics is dropped and never polled again, whether a caller catches the panic or not.
impl<C: Kind, P: UnwindSafe, O> UnwindSafe for Group<C, P, O> {}
impl<C: Kind, P: RefUnwindSafe, O> RefUnwindSafe for Group<C, P, O> {}

impl<C: Kind, P, O> fmt::Debug for Group<C, P, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("stats", &self.stats())
            .field("stopped", &self.base.admission.reason())
            .finish_non_exhaustive()
    }
}
