//! What surrounds the polls of children.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::task::Context;

use crate::observe::{Event, PollObserver};

/// Polls a child, and counts that. A closure, so that a program without a group that has a name
/// does not contain it.
pub(super) type CountPoll = Box<
    dyn Fn(usize, &mut Context<'_>, &mut dyn FnMut(&mut Context<'_>) -> bool) -> bool + Send + Sync,
>;

/// What surrounds the children's polls. A trait, so that a program without an observer does not
/// contain it.
pub(super) trait SurroundPolls: Send + Sync {
    /// Records the name of a child that starts, until it has finished.
    fn record(&mut self, event: &Event);

    /// Returns what surrounds the polls of that child, and the child's name.
    fn of(&self, index: usize) -> (&dyn PollObserver, Option<&str>);
}

pub(super) struct ObservedPolls {
    observer: Arc<dyn PollObserver>,
    /// The names of the running children that have one.
    names: BTreeMap<usize, Arc<str>>,
}

impl ObservedPolls {
    pub(super) fn boxed(observer: Arc<dyn PollObserver>) -> Box<dyn SurroundPolls> {
        Box::new(Self { observer, names: BTreeMap::new() })
    }
}

impl SurroundPolls for ObservedPolls {
    fn record(&mut self, event: &Event) {
        match event {
            Event::Started { index, name: Some(name), .. } => {
                self.names.insert(*index, Arc::clone(name));
            }
            Event::Finished { index: Some(index), name: Some(_), .. } => {
                self.names.remove(index);
            }
            _ => {}
        }
    }

    fn of(&self, index: usize) -> (&dyn PollObserver, Option<&str>) {
        (&*self.observer, self.names.get(&index).map(|name| &**name))
    }
}
