//! Why a group may not go on.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use super::display::InLine;
use super::{ChildSnapshot, ChildState, Phase, Snapshot, WaitsFor};
use crate::key::Key;
use crate::reason::Reason;

/// A cause for which a group may not go on; [`Snapshot::causes`] returns those that there are.
///
/// `Display` says it in a line.
///
/// # Examples
///
/// ```
/// use errgroup::snapshot::Cause;
/// use errgroup::{Group, task};
///
/// let mut group = Group::new().with_limit(1);
/// group.queue(task(std::future::pending::<Result<(), ()>>()).daemon());
/// group.queue(async { Ok(()) });
/// assert!(group.snapshot().causes().contains(&Cause::Daemons));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Cause {
    /// The group was woken, and has not been polled since.
    Starved,
    /// A child is being polled. If it stays so, it blocks its thread.
    #[non_exhaustive]
    Polled {
        /// The child's index.
        index: Option<usize>,
        /// The child's name.
        name: Option<Arc<str>>,
    },
    /// Children have started, and the group has not been polled since.
    #[non_exhaustive]
    Unpolled {
        /// How many they are.
        children: usize,
    },
    /// Room was granted to callers of `go`, `feed`, `reserve` or `ready`, which have not been
    /// polled since.
    #[non_exhaustive]
    Granted {
        /// How many they are.
        callers: usize,
        /// How many children start only after them.
        blocked: usize,
    },
    /// [Slots](crate::Slot) keep room.
    #[non_exhaustive]
    Reserved {
        /// How many they are.
        slots: usize,
    },
    /// Admission is paused: the limit is 0.
    Paused,
    /// Daemons take the room that the first of those that wait lacks, and never end before the
    /// group does.
    Daemons,
    /// Results are not fetched, and keep the room of their children: all the room that there is, or
    /// no other child runs.
    #[non_exhaustive]
    Unfetched {
        /// How many they are.
        results: usize,
    },
    /// The first of those that wait lacks room.
    #[non_exhaustive]
    Room {
        /// How much room it takes.
        weight: usize,
        /// How much is taken.
        room: usize,
        /// How much there is.
        limit: Option<usize>,
    },
    /// The first of those that wait has room, and a [gate](crate::Group::with_gate) has not let it
    /// pass.
    Gate,
    /// The first of those that wait has room, and lacks a permit of the group's
    /// [semaphore](crate::Group::with_semaphore).
    Permit,
    /// A [key](crate::Task::key) has no room for those that wait for it.
    #[non_exhaustive]
    Key {
        /// The key.
        key: Key,
        /// How much is taken.
        room: usize,
        /// How much there is, or `None` if there is no limit: then a
        /// [unique](crate::Task::unique) child waits for the others.
        limit: Option<usize>,
        /// How many wait for it.
        waiting: usize,
        /// [Daemons](crate::Task::daemon) take all that is taken, and never end before the group
        /// does.
        by_daemons: bool,
    },
    /// Children wait for something outside of the group.
    #[non_exhaustive]
    Children {
        /// How many they are.
        waiting: usize,
    },
    /// The group has stopped, and the children that run have not ended.
    #[non_exhaustive]
    Draining {
        /// Why it has stopped.
        reason: Reason,
        /// How many children run.
        running: usize,
    },
    /// The body of the group's [scope](crate::Group::scope) has not ended. Nothing else holds the
    /// group open, or the group has stopped.
    Body,
    /// The group is empty, but for [daemons](crate::Task::daemon), and a [`Hold`](crate::Hold)
    /// keeps it open.
    #[non_exhaustive]
    Held {
        /// How many holds there are.
        holds: usize,
    },
}

impl Snapshot {
    /// Returns the causes for which the group may not go on, the most unusual first.
    ///
    /// They are facts of one moment: a group that makes progress has some of them as well. If they
    /// are the same twice, some time apart, it is likely that the group hangs.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    ///
    /// let mut group = Group::new();
    /// group.queue(async { Ok::<(), ()>(()) });
    /// let cause = group.snapshot().causes()[0].to_string();
    /// assert_eq!(cause, "1 child has started, and the group was not polled since");
    /// ```
    pub fn causes(&self) -> Vec<Cause> {
        let mut causes = Vec::new();
        if self.phase == Phase::Ended {
            return causes;
        }
        let count = |state| self.children.iter().filter(|child| child.state == state).count();
        let some = |state| Some(count(state)).filter(|count| *count > 0);
        if self.is_starved {
            causes.push(Cause::Starved);
        }
        let polled = self.children.iter().filter(|child| child.state == ChildState::Polled);
        causes.extend(
            polled.map(|child| Cause::Polled { index: child.index, name: child.name.clone() }),
        );
        let unpolled = count(ChildState::Unpolled);
        if unpolled > 0 && !self.is_polled && !self.is_starved {
            causes.push(Cause::Unpolled { children: unpolled });
        }
        let blocked = count(ChildState::Blocked);
        causes.extend(some(ChildState::Granted).map(|callers| Cause::Granted { callers, blocked }));
        causes.extend(some(ChildState::Reserved).map(|slots| Cause::Reserved { slots }));
        causes.extend(self.head_cause());
        causes.extend(self.keys.iter().map(|it| Cause::Key {
            key: it.key.clone(),
            room: it.room,
            limit: it.limit,
            waiting: it.waiting,
            by_daemons: self.count_takers(it.room, |child| {
                child.is_running_daemon() && child.key.as_ref() == Some(&it.key)
            }) > 0,
        }));
        let results = count(ChildState::Unfetched);
        let running = self.stats.running.saturating_sub(results);
        let unfetched = Cause::Unfetched { results };
        if results > 0 && running == 0 && !causes.contains(&unfetched) {
            causes.push(unfetched);
        }
        if let (Some(reason), true) = (&self.reason, running > 0) {
            causes.push(Cause::Draining { reason: reason.clone(), running });
        }
        causes.extend(some(ChildState::Waiting).map(|waiting| Cause::Children { waiting }));
        let mut children = self.children.iter();
        let is_empty = self.omitted == 0 && children.all(ChildSnapshot::is_running_daemon);
        if self.has_body && (is_empty || self.reason.is_some()) {
            causes.push(Cause::Body);
        }
        if self.holds > 0 && is_empty && self.phase == Phase::Open {
            causes.push(Cause::Held { holds: self.holds });
        }
        causes
    }

    /// Returns what the first of those that wait lacks, or `None` if nothing waits for the group.
    fn head_cause(&self) -> Option<Cause> {
        self.children.iter().find_map(|child| match child.state {
            ChildState::Queued { waits_for, .. } | ChildState::Offered { waits_for, .. } => {
                match waits_for {
                    WaitsFor::Room => Some(self.lack_of_room(child)),
                    WaitsFor::Gate => Some(Cause::Gate),
                    WaitsFor::Permit => Some(Cause::Permit),
                    WaitsFor::Turn | WaitsFor::Key | WaitsFor::Keys => None,
                }
            }
            _ => None,
        })
    }

    /// Returns how many children are meant, or 0 if they take less than that room.
    fn count_takers(&self, room: usize, is_meant: impl Fn(&ChildSnapshot) -> bool) -> usize {
        let meant = self.children.iter().filter(|child| is_meant(child));
        let (count, taken) = meant.fold((0, 0_usize), |(count, taken), child| {
            (count + 1, taken.saturating_add(child.weight))
        });
        if taken >= room { count } else { 0 }
    }

    fn lack_of_room(&self, head: &ChildSnapshot) -> Cause {
        let limit = self.stats.limit;
        let results = self.count_takers(self.room, |child| child.state == ChildState::Unfetched);
        if limit == Some(0) {
            Cause::Paused
        } else if self.count_takers(self.room, ChildSnapshot::is_running_daemon) > 0 {
            Cause::Daemons
        } else if results > 0 {
            Cause::Unfetched { results }
        } else {
            Cause::Room { weight: head.weight, room: self.room, limit }
        }
    }
}

impl ChildSnapshot {
    fn is_running_daemon(&self) -> bool {
        self.daemon && self.state.is_running()
    }
}

/// Shows a number of things, in words for one and for several.
struct Count(usize, &'static str, &'static str);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(count, one, several) = self;
        write!(f, "{count} {}", if *count == 1 { one } else { several })
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starved => f.write_str(
                "the group was woken, and has not been polled since: \
                 the task that owns it awaits something else",
            ),
            Self::Polled { index, name } => {
                f.write_str("a child is being polled")?;
                if let Some(index) = index {
                    write!(f, ": #{index}")?;
                }
                if let Some(name) = name {
                    write!(f, " {name:?}")?;
                }
                f.write_str("; if it stays so, it blocks its thread")
            }
            Self::Unpolled { children } => write!(
                f,
                "{} started, and the group was not polled since",
                Count(*children, "child has", "children have")
            ),
            Self::Granted { callers, blocked } => {
                write!(
                    f,
                    "room was granted to {}, not polled since: poll it on, or drop it",
                    Count(*callers, "waiting call", "waiting calls")
                )?;
                match blocked {
                    0 => Ok(()),
                    _ => {
                        write!(f, "; {} behind it", Count(*blocked, "child waits", "children wait"))
                    }
                }
            }
            Self::Reserved { slots } => {
                write!(f, "{} room", Count(*slots, "slot keeps", "slots keep"))
            }
            Self::Paused => f.write_str("admission is paused: the limit is 0"),
            Self::Daemons => f.write_str(
                "daemons take the room, and none of them ends before the group does: \
                 raise the limit",
            ),
            Self::Unfetched { results } => {
                let keep =
                    if *results == 1 { "keeps its child's" } else { "keep their children's" };
                write!(
                    f,
                    "{} not fetched, and {keep} room: poll the stream",
                    Count(*results, "result is", "results are")
                )
            }
            Self::Room { weight, room, limit } => {
                write!(
                    f,
                    "the first of those that wait lacks room: it takes {weight}, and {room}"
                )?;
                match limit {
                    Some(limit) => write!(f, " of {limit} is taken"),
                    None => f.write_str(" is taken"),
                }
            }
            Self::Gate => f.write_str("the first of those that wait waits at a gate"),
            Self::Permit => {
                f.write_str("the first of those that wait waits for a permit of the semaphore")
            }
            Self::Key { key, room, limit, waiting, by_daemons } => {
                let key = InLine(key);
                let unique = Count(*waiting, "unique child waits", "unique children wait");
                let waiting = Count(*waiting, "waits", "wait");
                match limit {
                    Some(0) => write!(f, "the key {key} is paused: its limit is 0; {waiting}"),
                    Some(limit) => {
                        write!(
                            f,
                            "the key {key} has no room: {room} of {limit} is taken; {waiting}"
                        )
                    }
                    None => write!(f, "the key {key} is in use; {unique}"),
                }?;
                if *by_daemons {
                    f.write_str(", and only daemons have it, which end with the group")?;
                }
                Ok(())
            }
            Self::Children { waiting } => write!(
                f,
                "{} for something outside of the group",
                Count(*waiting, "child waits", "children wait")
            ),
            Self::Draining { reason, running } => write!(
                f,
                "the group has stopped ({}), and {} not ended",
                InLine(reason),
                Count(*running, "child has", "children have")
            ),
            Self::Body => f.write_str("the body of the scope has not ended"),
            Self::Held { holds } => {
                write!(
                    f,
                    "the group is empty, and {} it open",
                    Count(*holds, "hold keeps", "holds keep")
                )
            }
        }
    }
}
