//! How a group waits for a permit in the stead of the first in its line, and lets go of it.

use alloc::sync::Arc;

use super::own::{Access, Admission};
use super::permits::{Permits, Source};
use super::{Shared, Who};
use crate::child::Kind;
use crate::util::panic::{catch, discard};

impl<C: Kind> Admission<C> {
    #[inline]
    pub(crate) fn has_semaphore(&mut self) -> bool {
        self.shared().is_some_and(|shared| shared.source().is_some())
    }

    /// Begins a poll: where other groups share the semaphore, they have had their turn.
    pub(crate) fn begin_poll(&mut self) {
        self.with_permits(|_, permits| permits.begin_poll());
    }

    pub(crate) fn end_poll(&mut self) {
        self.with_permits(|_, permits| permits.end_poll());
    }

    /// Gives all permits back, when the children of a group that is closed are gone.
    pub(crate) fn give_permits_back(&mut self) {
        if let Access::Shared(shared) = self.access.get_mut() {
            if shared.source().is_some() {
                shared.update(Who::Owner, |state| {
                    if let Some(permits) = &mut state.permits {
                        permits.free_all();
                    }
                });
            }
        }
    }

    /// Waits for a permit in the stead of the first in line, if he lacks one; not for longer.
    pub(crate) fn acquire(&mut self) {
        // There may be more for those behind him: then the wait begins anew.
        while let Some(shared) = self.lacks_permit() {
            let Some(source) = shared.source() else {
                return;
            };
            if source.acquire(&self.parent) {
                shared.update(Who::Owner, |state| {
                    if let Some(permits) = &mut state.permits {
                        permits.add();
                    }
                });
            } else if self.lacks_permit().is_some() {
                return;
            }
            // Else he has left meanwhile, on another thread, which found nobody waiting.
        }
        // Whoever waits behind it in the semaphore's own line is told now.
        self.with_source(|source| source.leave());
    }

    /// Leaves the semaphore's line, when nobody polls it any more: so who stands behind is told.
    pub(super) fn stop_acquiring(&mut self) {
        // A foreign waker that panics is its executor's fault.
        let _ = catch(|| self.with_source(|source| source.leave())).map_err(discard);
    }

    fn lacks_permit(&mut self) -> Option<Arc<Shared<C>>> {
        self.with_permits(|shared, permits| permits.may_wait().then(|| Arc::clone(shared)))?
    }

    /// Whether the first in line lacks a permit, and nobody waits for it in his stead, or it may
    /// have come.
    pub(crate) fn has_to_acquire(&mut self) -> bool {
        // A ring that came after the last look may have been taken with those for the children.
        let waits = self.with_source(|source| source.is_waiting());
        waits == Some(false) && self.shared().is_some_and(|shared| shared.lacks_permit())
    }

    fn with_source<R>(&mut self, f: impl FnOnce(&Source) -> R) -> Option<R> {
        self.shared()?.source().map(f)
    }

    fn with_permits<R>(&mut self, f: impl FnOnce(&Arc<Shared<C>>, &mut Permits) -> R) -> Option<R> {
        let Access::Shared(shared) = self.access.get_mut() else {
            return None;
        };
        shared.source()?;
        shared.state.lock().permits.as_mut().map(|permits| f(shared, permits))
    }
}
