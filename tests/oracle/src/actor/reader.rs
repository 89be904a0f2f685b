//! What reads the results of a group.

use std::panic::AssertUnwindSafe;

use futures::{FutureExt, StreamExt};

use super::Actor;
use super::owner::RecordsEnd;
use crate::kinds::AnyResults;
use crate::record::{ChildRecord, Driver, Stage};
use crate::waiting::{Driving, until};

impl Actor {
    /// Reads results, some of them late, until there are none or the stream is dropped.
    pub(super) async fn read_results(&self, results: Box<dyn AnyResults>) {
        let end = RecordsEnd(self);
        let read = AssertUnwindSafe(self.read(results)).catch_unwind().await;
        drop(end);
        if let Err(payload) = read {
            self.check_panic(&*payload);
        }
    }

    async fn read(&self, mut results: Box<dyn AnyResults>) {
        let (world, group) = (&self.world, &self.group);
        *group.handle.borrow_mut() = Some(results.handle());
        loop {
            match world.below(8) {
                1..=3 => self.queue(|offer| results.queue(offer)),
                4 => drop(self.try_go(false, |offer| results.try_go(offer))),
                5 if world.features.parks => world.latch().wait().await,
                6 if world.features.drops && world.chance(3) => return,
                _ => {}
            }
            let next = Driving::new(group, Driver::Group, results.next());
            let next =
                if world.chance(4) { until(next, world.latch()).await } else { Some(next.await) };
            match next {
                None => {}
                Some(None) => {
                    self.log("gives none");
                    if !group.unread.borrow().is_empty() {
                        self.fault("a result is missing");
                    }
                    let is_used_up = world.tape.borrow().is_used_up();
                    if is_used_up || group.may_have_stopped() || world.chance(2) {
                        return;
                    }
                }
                Some(Some(result)) => self.check_result(result),
            }
        }
    }

    /// Checks that it is the result of the child that has ended first.
    fn check_result(&self, result: Result<(), u32>) {
        self.log(format_args!("gives {result:?}"));
        let mut unread = self.group.unread.borrow_mut();
        let result_of = |child: &ChildRecord| match child.stage.get() {
            Stage::Failed => Err(child.id),
            _ => Ok(()),
        };
        // The group sees spawned children in an order of its own.
        let at = unread.iter().position(|child| result_of(child) == result);
        let is_right = |at: &usize| *at == 0 || self.group.is_spawned;
        match at.filter(is_right) {
            Some(at) => drop(unread.remove(at)),
            None => self.fault(format_args!("gives {result:?}, which is not the next")),
        }
    }
}
