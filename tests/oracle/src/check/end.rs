//! What is checked when all is dropped: nothing is left, and each child was counted once.

use crate::world::World;

impl World {
    pub(crate) fn check_end(&self) {
        let had_fault = self.has_fault();
        for group in &*self.groups.borrow() {
            if let Some(handle) = group.handle.take() {
                let stats = handle.stats();
                let counted = group.count(|_| true);
                let is_right = stats.queued + stats.running == 0
                    && stats.ok + stats.failed + stats.dropped == counted;
                if !had_fault && !is_right {
                    self.fault(format_args!("g{}: {stats:?} of {counted} at last", group.id));
                }
            }
            if group.gates.iter().any(|gate| gate.guards.get() > 0) {
                self.fault(format_args!("g{}: a guard is never dropped", group.id));
            }
        }
        for child in &*self.children.borrow() {
            if !child.is_dropped.get() {
                self.fault(format_args!("child {} is never dropped", child.id));
            }
        }
        let permits = std::iter::from_fn(|| self.semaphore.try_acquire_arc());
        let permits = permits.take(1_000).collect::<Vec<_>>().len();
        if permits != self.permits.get() {
            self.fault(format_args!("{permits} permits are left of {}", self.permits.get()));
        }
        let leaked = self.executor.leaked_wakers();
        if leaked > 0 {
            self.fault(format_args!("{leaked} wakers are never dropped"));
        }
    }
}
