//! The wakers of those who stand in line.
//!
//! They are kept apart from the line, under a lock of their own, so that a stop wakes all who
//! wait at once, from whichever thread it comes, though the children be of one thread. Neither
//! lock is taken inside the other.

use alloc::sync::Arc;
use alloc::task::Wake;
use core::task::Waker;

use crate::token::wake_all;
use crate::util::lock::Mutex;
use crate::util::slab::Slab;
use crate::util::sparse_queue::SparseQueue;

/// A waker that is, or was, kept in a [`Roll`]; no other's is ever the same.
#[derive(Clone, Copy)]
pub(super) struct Key(u64);

/// Woken, it wakes all who stand in line.
#[derive(Default)]
pub(super) struct Roll(Mutex<Wakers>);

#[derive(Default)]
struct Wakers {
    row: SparseQueue<Waker>,
    next: u64,
}

impl Roll {
    pub(super) fn add(&self, waker: Waker) -> Key {
        let mut wakers = self.0.lock();
        let key = wakers.next;
        wakers.next += 1;
        wakers.row.push(key, waker);
        Key(key)
    }

    pub(super) fn remove(&self, key: Key) -> Option<Waker> {
        self.0.lock().row.remove(key.0)
    }

    pub(super) fn wake(&self, keys: impl IntoIterator<Item = Key>) {
        let mut wakers = Slab::new();
        {
            let mut all = self.0.lock();
            for waker in keys.into_iter().filter_map(|key| all.row.remove(key.0)) {
                wakers.insert(waker);
            }
        }
        wake_all([wakers].into());
    }
}

impl Wake for Roll {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let all = core::mem::take(&mut self.0.lock().row);
        let mut wakers = Slab::new();
        for waker in all.into_values() {
            wakers.insert(waker);
        }
        wake_all([wakers].into());
    }
}
