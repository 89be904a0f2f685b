//! The suite on embassy, compio and monoio, and their rows of the table in the README.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use embassy_executor::Spawner;
use executors::{Executor, check_table, passes};
use futures::future::{BoxFuture, FutureExt, LocalBoxFuture};

#[test]
fn each_passes_the_suite_and_has_its_row_in_the_readme() {
    let mut rows = vec![passes::<Embassy>()];
    #[cfg(target_os = "linux")]
    rows.extend([passes::<linux::Compio>(), passes::<linux::Monoio>()]);
    check_table(&rows);
}

struct Embassy;

thread_local! {
    static EMBASSY: RefCell<Option<Spawner>> = const { RefCell::new(None) };
}

#[embassy_executor::task(pool_size = 64)]
async fn task(future: LocalBoxFuture<'static, ()>) {
    future.await;
}

fn embassy_spawn(future: LocalBoxFuture<'static, ()>) {
    EMBASSY.with_borrow(|spawner| {
        spawner.expect("it runs").spawn(task(future).expect("there are tasks left"));
    });
}

impl Executor for Embassy {
    const NAME: &'static str = "embassy-executor, on threads of std";
    const SPAWN: Option<fn(BoxFuture<'static, ()>)> = Some(|future| embassy_spawn(future));
    const SPAWN_LOCAL: Option<fn(LocalBoxFuture<'static, ()>)> = Some(embassy_spawn);
    const SLEEP: Option<fn(Duration) -> LocalBoxFuture<'static, ()>> = Some(|time| {
        let micros = time.as_micros().try_into().expect("less than an age");
        embassy_time::Timer::after_micros(micros).boxed_local()
    });

    fn block_on(future: LocalBoxFuture<'static, ()>) {
        let executor = Box::leak(Box::new(embassy_executor::Executor::new()));
        let ended = Rc::new(Cell::new(false));
        let end = Rc::clone(&ended);
        executor.run_until(
            |spawner| {
                EMBASSY.set(Some(spawner));
                embassy_spawn(future.map(move |()| end.set(true)).boxed_local());
            },
            || ended.get(),
        );
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use super::*;

    pub(crate) struct Compio;

    impl Executor for Compio {
        const NAME: &'static str = "compio";
        const SPAWN: Option<fn(BoxFuture<'static, ()>)> =
            Some(|future| compio::runtime::spawn(future).detach());
        const SPAWN_LOCAL: Option<fn(LocalBoxFuture<'static, ()>)> =
            Some(|future| compio::runtime::spawn(future).detach());
        const SLEEP: Option<fn(Duration) -> LocalBoxFuture<'static, ()>> =
            Some(|time| compio::time::sleep(time).boxed_local());

        fn block_on(future: LocalBoxFuture<'static, ()>) {
            compio::runtime::Runtime::new().unwrap().block_on(future);
        }
    }

    pub(crate) struct Monoio;

    impl Executor for Monoio {
        const NAME: &'static str = "monoio";
        const SPAWN: Option<fn(BoxFuture<'static, ()>)> =
            Some(|future| drop(monoio::spawn(future)));
        const SPAWN_LOCAL: Option<fn(LocalBoxFuture<'static, ()>)> =
            Some(|future| drop(monoio::spawn(future)));
        const SLEEP: Option<fn(Duration) -> LocalBoxFuture<'static, ()>> =
            Some(|time| monoio::time::sleep(time).boxed_local());

        fn block_on(future: LocalBoxFuture<'static, ()>) {
            // Without the feature `sync`, monoio is not woken from other threads.
            monoio::RuntimeBuilder::<monoio::FusionDriver>::new()
                .enable_timer()
                .build()
                .unwrap()
                .block_on(future);
        }
    }
}
