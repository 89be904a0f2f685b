//! What is going on in a group: a plain value, to be printed or sent elsewhere.
//!
//! [`Snapshot`] is made by [`Group::snapshot`](crate::Group::snapshot),
//! [`Handle::snapshot`](crate::Handle::snapshot) and
//! [`Results::snapshot`](crate::stream::Results::snapshot). [My group hangs](crate::guide::hangs)
//! says what to look for in it.

mod cause;
mod display;
#[cfg(feature = "serde")]
mod serialize;

use alloc::sync::Arc;
use alloc::vec::Vec;

pub use self::cause::Cause;
use crate::key::Key;
use crate::reason::Reason;
use crate::set::Progress;
use crate::stats::Stats;
use crate::util::parent_waker::ParentWaker;

/// How many children are listed.
pub(crate) const LISTED: usize = 1000;

/// How many levels of named groups are listed below one.
pub(crate) const LEVELS: usize = 64;

/// What is going on in a group, at one moment: its phase and numbers, its children, and what they
/// wait for.
///
/// [`Group::snapshot`](crate::Group::snapshot), [`Handle::snapshot`](crate::Handle::snapshot) and
/// [`Results::snapshot`](crate::stream::Results::snapshot) take one. `Display` prints it as a tree,
/// below the [causes](Self::causes) for which the group may not go on. With the feature `serde` it
/// is `Serialize`.
///
/// # What it knows
///
/// [My group hangs](crate::guide::hangs) has a table from what a snapshot says to what to do.
///
/// A group keeps no more of its children than it needs. So what a snapshot knows depends on who
/// takes it, and on whether the group was given a [name](crate::Group::with_name):
///
/// | | of the group | its handle | either, if the group has a name |
/// | --- | --- | --- | --- |
/// | the numbers, what waits, what was granted | yes | yes | yes |
/// | the running children, and which were woken | yes | those with a key, a weight and the like | yes |
/// | their names, how often they were polled | | | yes |
/// | named groups [below](crate::Group::with_parent) it | | | yes |
///
/// At most 1,000 children are listed, those that run first; [`omitted`](Self::omitted) counts the
/// others. Nested named groups are listed to a depth of 64.
///
/// # Examples
///
/// ```
/// use errgroup::{Group, task};
///
/// # futures::executor::block_on(async {
/// let mut group = Group::new().with_name("downloads").with_limit(1);
/// group.queue(task(std::future::pending::<Result<(), ()>>()).name("a"));
/// group.queue(task(async { Ok(()) }).name("b").weight(2));
/// assert!(futures::poll!(&mut group).is_pending());
/// assert_eq!(group.snapshot().to_string(), "\
/// group \"downloads\": open, 1 running of 1, 1 queued; 0 ok, 0 failed, 0 dropped
/// ! the first of those that wait lacks room: it takes 2, and 1 of 1 is taken
/// ! 1 child waits for something outside of the group
/// ├ #0 \"a\": waits, polled once
/// └ \"b\", weight 2: queued first, waits for room
/// ");
/// # });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Snapshot {
    /// The group's name, or `None` if it was given none.
    pub name: Option<Arc<str>>,
    /// How far the group has come.
    pub phase: Phase,
    /// Why the group has stopped, or `None` if it has not.
    pub reason: Option<Reason>,
    /// The group's numbers.
    pub stats: Stats,
    /// How much of the limit is taken, by running children and by callers that were granted room.
    pub room: usize,
    /// How many [holds](crate::Hold) keep the group open.
    pub holds: usize,
    /// The body of the group's [scope](crate::Group::scope) has not ended.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "core::ops::Not::not"))]
    pub has_body: bool,
    /// The group is being polled.
    pub is_polled: bool,
    /// The group was woken, and has not been polled since. This is briefly true before every poll.
    /// A group that stays so is starved: the task that owns it awaits something else. It is `false`
    /// for an open group that is empty.
    pub is_starved: bool,
    /// The children, and the callers that wait to add one: those that run, in the order of their
    /// indexes; those that have room and have not started; those that wait, in their order.
    pub children: Vec<ChildSnapshot>,
    /// How many children and callers are not listed.
    pub omitted: usize,
    /// The keys that have no room for the children that wait for them.
    pub keys: Vec<KeySnapshot>,
    /// The named groups below this one.
    pub groups: Vec<Self>,
}

/// How far a group has come.
///
/// # Examples
///
/// ```
/// use errgroup::{Boxed, Group, snapshot::Phase};
///
/// let group = Group::<Boxed<'_, (), ()>>::new();
/// assert_eq!(group.snapshot().phase, Phase::Open);
/// group.token().cancel();
/// assert_eq!(group.snapshot().phase, Phase::Stopped);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Phase {
    /// It admits children.
    Open,
    /// It was [closed](crate::Group::close): it refuses newcomers, and runs what it has accepted.
    Closing,
    /// Its token is cancelled. It waits for the children that run.
    Stopped,
    /// It has resolved, or is gone.
    Ended,
}

/// A child of a group, or a caller that waits to add one.
///
/// # Examples
///
/// ```
/// use errgroup::snapshot::{ChildState, WaitsFor};
/// use errgroup::{Group, task};
///
/// let mut group = Group::new().with_limit(1);
/// group.queue(async { Ok::<(), ()>(()) });
/// group.queue(task(async { Ok(()) }).name("second"));
/// let children = group.snapshot().children;
/// assert!(matches!(children[0].state, ChildState::Unpolled));
/// assert!(matches!(children[1].state, ChildState::Queued { waits_for: WaitsFor::Room, .. }));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ChildSnapshot {
    /// Its number in the order of admission, from 0, or `None` if it has not started.
    pub index: Option<usize>,
    /// Its [name](crate::Task::name), or `None` if it has none or the name is not known.
    pub name: Option<Arc<str>>,
    /// Its [key](crate::Task::key), or `None` if it has none or the key is not known yet.
    pub key: Option<Key>,
    /// Its [weight](crate::Task::weight).
    pub weight: usize,
    /// Its [priority](crate::Task::priority).
    pub priority: i32,
    /// It is a [daemon](crate::Task::daemon).
    pub daemon: bool,
    /// How far it has come.
    pub state: ChildState,
    /// How often it was polled, or `None` if that is not known: the group has no name, or the
    /// child has not started.
    pub polls: Option<usize>,
}

/// How far a child has come.
///
/// # Examples
///
/// ```
/// use errgroup::{Group, snapshot::ChildState};
///
/// # futures::executor::block_on(async {
/// let mut group = Group::new();
/// group.queue(std::future::pending::<Result<(), ()>>());
/// assert!(futures::poll!(&mut group).is_pending());
/// assert_eq!(group.snapshot().children[0].state, ChildState::Waiting);
/// # });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum ChildState {
    /// It was accepted, and is in the queue.
    #[non_exhaustive]
    Queued {
        /// How many come before it.
        behind: usize,
        /// What it waits for.
        waits_for: WaitsFor,
    },
    /// It was not accepted yet: a caller of `go`, `feed`, `reserve` or `ready` waits in the queue,
    /// or a [`Slot`](crate::Slot) without room has its place there.
    #[non_exhaustive]
    Offered {
        /// How many come before it.
        behind: usize,
        /// What it waits for.
        waits_for: WaitsFor,
        /// The index of the running child inside which the caller waits, or `None` if it waits
        /// elsewhere.
        inside: Option<usize>,
    },
    /// Room was granted to a caller that has waited, and the caller has not come: it was not polled
    /// since.
    Granted,
    /// A [`Slot`](crate::Slot) keeps the room.
    Reserved,
    /// It has room, and starts when a caller before it has come to which room was granted.
    Blocked,
    /// It has started, and was not polled yet.
    Unpolled,
    /// It was woken, and has not been polled since.
    Woken,
    /// It is being polled. If it stays so, it blocks its thread.
    Polled,
    /// It waits to be woken, by something outside of the group.
    Waiting,
    /// It is a task of an executor.
    Spawned,
    /// It has ended on its executor, and the group has not been polled since.
    Completed,
    /// It has finished, and keeps its room until its result is fetched.
    Unfetched,
    /// It runs; more is not known.
    Running,
}

/// What a child in the queue waits for.
///
/// # Examples
///
/// ```
/// use errgroup::snapshot::{ChildState, WaitsFor};
/// use errgroup::{Group, task};
///
/// let mut group = Group::new().with_key_limit(1);
/// for _ in 0..2 {
///     group.queue(task(async { Ok::<(), ()>(()) }).key("a.example"));
/// }
/// let second = group.snapshot().children[1].state;
/// assert!(matches!(second, ChildState::Queued { waits_for: WaitsFor::Key, .. }));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum WaitsFor {
    /// It waits for those before it.
    Turn,
    /// It is first, and lacks room.
    Room,
    /// It is first, and a [gate](crate::Group::with_gate) has not let it pass.
    Gate,
    /// It is first, and lacks a permit of the group's [semaphore](crate::Group::with_semaphore).
    Permit,
    /// Its [key](crate::Task::key) has no room for it.
    Key,
    /// It is a `feed`, which waits until fewer of its children wait for their keys.
    Keys,
}

/// A key for which children wait.
///
/// # Examples
///
/// ```
/// use errgroup::{Group, task};
///
/// let mut group = Group::new().with_key_limit(1);
/// for _ in 0..3 {
///     group.queue(task(async { Ok::<(), ()>(()) }).key("a.example"));
/// }
/// let keys = group.snapshot().keys;
/// assert_eq!((keys[0].limit, keys[0].room, keys[0].waiting), (Some(1), 1, 2));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct KeySnapshot {
    /// The key.
    pub key: Key,
    /// Its limit, or `None` if it has none.
    pub limit: Option<usize>,
    /// How much of the limit is taken.
    pub room: usize,
    /// How many wait for it.
    pub waiting: usize,
}

impl Snapshot {
    /// Returns how many children are listed that have ended on their executor.
    pub(crate) fn completed(&self) -> usize {
        self.children.iter().filter(|child| child.state == ChildState::Completed).count()
    }

    pub(crate) fn new(stats: Stats) -> Self {
        Self {
            name: None,
            phase: Phase::Open,
            reason: None,
            stats,
            room: 0,
            holds: 0,
            has_body: false,
            is_polled: false,
            is_starved: false,
            children: Vec::new(),
            omitted: 0,
            keys: Vec::new(),
            groups: Vec::new(),
        }
    }
}

impl Snapshot {
    /// Adds what is known outside of the state: why the group has stopped, and whether its task
    /// polls it.
    pub(crate) fn complete(&mut self, reason: Option<Reason>, parent: &ParentWaker) {
        self.reason = reason;
        // The waker of a group that has ended counts as being polled.
        let has_ended = self.phase == Phase::Ended;
        self.is_polled = !has_ended && parent.is_polling();
        self.is_starved = parent.is_starved() && !self.is_vacant();
    }

    /// Returns `true` if the group is open, and has nothing to do before a child is added.
    fn is_vacant(&self) -> bool {
        self.phase == Phase::Open && self.children.is_empty() && self.omitted == 0
    }
}

impl From<Progress> for ChildState {
    fn from(progress: Progress) -> Self {
        match progress {
            Progress::Unpolled => Self::Unpolled,
            Progress::Woken => Self::Woken,
            Progress::Waiting => Self::Waiting,
            Progress::Spawned => Self::Spawned,
            Progress::Completed => Self::Completed,
        }
    }
}

impl ChildSnapshot {
    /// Returns what is known of a plain child.
    pub(crate) fn plain(state: ChildState) -> Self {
        Self {
            index: None,
            name: None,
            key: None,
            weight: 1,
            priority: 0,
            daemon: false,
            state,
            polls: None,
        }
    }
}

impl ChildState {
    /// Returns `true` if the child has started and not finished.
    fn is_running(self) -> bool {
        matches!(
            self,
            Self::Unpolled
                | Self::Woken
                | Self::Polled
                | Self::Waiting
                | Self::Spawned
                | Self::Completed
                | Self::Running
        )
    }
}
