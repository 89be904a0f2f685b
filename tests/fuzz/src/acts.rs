//! What anything in a world does that neither waits nor yields: a child, a destructor, a waker, a
//! policy, an observer, a gate.

use crate::env::Env;
use crate::kinds::boom;

/// Returns to the depth before, though an act panics.
struct Depth<'a>(&'a Env);

impl Drop for Depth<'_> {
    fn drop(&mut self) {
        self.0.depth.set(self.0.depth.get() - 1);
    }
}

impl Env {
    /// Acts rarely.
    pub fn rare(&self, group: usize) {
        if self.one_in(10) {
            self.quick(group);
        }
    }

    /// Chooses a group, mostly this one.
    fn near(&self, group: usize) -> usize {
        if self.one_in(5) { self.below(self.groups.borrow().len()) } else { group }
    }

    pub fn quick(&self, group: usize) {
        // A panic that is on its way may have come from a lock of the semaphore.
        if self.depth.get() >= 3 {
            return;
        }
        self.depth.set(self.depth.get() + 1);
        let _depth = Depth(self);
        let act = self.below(28);
        if act < 3 {
            return;
        }
        let at = self.near(group);
        self.note(|| format!("act {act} at group {at}"));
        let handle = self.handle(at);
        match act {
            3..=5 => {
                self.open(self.below(8));
            }
            6 => self.take(),
            7 | 8 => {
                self.give();
            }
            9 => {
                let limit = (!self.one_in(3)).then(|| self.below(4));
                handle.into_iter().for_each(|handle| handle.set_limit(limit));
            }
            10 => {
                let (key, limit) = (self.below(3) as u32, self.below(3));
                let limit = (limit > 0).then_some(limit);
                handle.into_iter().for_each(|handle| handle.set_key_limit(key, limit));
            }
            11 | 12 => handle.into_iter().for_each(|handle| handle.queue()),
            13 => handle.into_iter().for_each(|handle| handle.try_go()),
            14 => handle.into_iter().for_each(|handle| handle.try_queue()),
            15 if self.one_in(2) => handle.into_iter().for_each(|handle| {
                handle.token().cancel();
            }),
            16 if self.one_in(3) => handle.into_iter().for_each(|handle| handle.close()),
            17 => {
                let waker = self.pick(&self.wakers);
                waker.into_iter().for_each(|waker| waker.wake());
            }
            18 => {
                let pick = self.below(8);
                let joins = self.joins.borrow_mut();
                if !joins.is_empty() {
                    let at = pick % joins.len();
                    let (kid, handle) = { joins }.swap_remove(at);
                    self.note(|| format!("aborts child {kid}"));
                    let group = self.group(self.kid(kid).group);
                    group.unsure.set(true);
                    let was_finished = handle.is_finished();
                    handle.abort();
                    if !was_finished && handle.is_finished() && !self.kid(kid).started.get() {
                        self.kid(kid).aborted.set(true);
                    }
                    self.joins.borrow_mut().push((kid, handle));
                }
            }
            19 => {
                if let Some((kid, handle)) = self.pick(&self.joins) {
                    self.group(self.kid(kid).group).unsure.set(true);
                    drop(handle);
                }
            }
            20 => {
                if let Some((_, slot)) = self.pick(&self.slots) {
                    if self.one_in(2) { slot.go() } else { drop(slot) }
                }
            }
            21 => {
                let hold = self.pick(&self.holds);
                drop(hold);
            }
            22 => {
                if let Some(handle) = handle {
                    let hold = handle.hold();
                    self.holds.borrow_mut().push((at, hold));
                }
            }
            23 => self.drop_task(self.byte().into()),
            24 | 25 if self.semaphore.borrow().is_none() => self.poll_woken(self.byte().into()),
            26 if self.one_in(2) => boom(),
            27 if self.one_in(4) => {
                let root = self.roots.borrow()[0].clone();
                root.cancel();
            }
            _ => {}
        }
    }

    /// Takes one of them out.
    pub fn pick<T>(&self, all: &std::cell::RefCell<Vec<T>>) -> Option<T> {
        let pick = self.below(16);
        let mut all = all.borrow_mut();
        if all.is_empty() {
            return None;
        }
        let at = pick % all.len();
        Some(all.swap_remove(at))
    }
}
