//! What a child does.

use std::rc::Rc;

use super::{Actor, MAX_DEPTH, run_group};
use crate::child::panic_now;
use crate::executor::Yield;
use crate::record::ChildRecord;
use crate::waiting::until;

pub(super) async fn run(actor: Actor, child: Rc<ChildRecord>) -> Result<(), u32> {
    let Actor { world, group, depth } = &actor;
    let features = &world.features;
    for _ in 0..6 {
        match world.below(8) {
            0 => break,
            1 | 2 => world.latch().wait().await,
            3 => Yield::default().await,
            4 if features.ends => {
                let Some(handle) = group.handle() else { continue };
                child.awaits_cancel.set(true);
                until(handle.token().cancelled(), world.latch()).await;
                child.awaits_cancel.set(false);
            }
            5 if features.nested && depth + 1 < MAX_DEPTH && world.groups.borrow().len() < 4 => {
                run_group(world.clone(), Some(child.clone()), *depth).await;
            }
            _ if *depth < MAX_DEPTH => {
                if let Some((actor, handle)) = actor.choose_group() {
                    actor.act(handle).await;
                }
            }
            _ => {}
        }
    }
    if features.panics && world.chance(6) {
        panic_now();
    }
    if features.errors && world.chance(4) { Err(child.id) } else { Ok(()) }
}
