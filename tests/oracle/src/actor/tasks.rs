//! What tasks do that neither own a group nor are children.

use std::rc::Rc;

use super::choose_group;
use crate::waiting::Counted;
use crate::world::World;

/// Acts on groups by their handles.
pub(crate) async fn act_on_groups(world: Rc<World>) {
    for _ in 0..5 {
        if world.below(4) == 0 {
            break;
        }
        match choose_group(&world, 0) {
            Some((actor, handle)) => actor.act(handle).await,
            None => world.latch().wait().await,
        }
    }
}

/// Takes permits of the semaphore that groups share.
pub(crate) async fn take_permits(world: Rc<World>) {
    for _ in 0..3 {
        if world.below(3) == 0 {
            break;
        }
        let awaited = Counted::new(&world.permits_awaited);
        let permit = world.semaphore.acquire_arc().await;
        drop(awaited);
        let held = Counted::new(&world.permits_held);
        world.latch().wait().await;
        drop(held);
        drop(permit);
    }
}
