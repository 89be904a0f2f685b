//! Every future of the crate is `Send` inside a spawned task and works unboxed in the
//! combinators, whatever its children borrow. These tests need only compile; they run too.

use std::error::Error;
use std::sync::Arc;

use errgroup::{CancelToken, Children, Group, Handle, Reason, task};
use futures::stream::{self, FuturesUnordered, StreamExt, TryStreamExt};
use tokio::task::yield_now;

type AnyError = Box<dyn Error + Send + Sync>;

async fn fetch(url: &str) -> Result<usize, AnyError> {
    yield_now().await;
    if url.is_empty() { Err("no such page".into()) } else { Ok(url.len()) }
}

async fn check(url: &str) -> Result<usize, &'static str> {
    yield_now().await;
    if url.is_empty() { Err("no such page") } else { Ok(url.len()) }
}

fn urls() -> Vec<String> {
    (0..20).map(|n| format!("/page/{n}")).collect()
}

async fn spawned<F>(future: F) -> F::Output
where
    F: Future<Output: Send> + Send + 'static,
{
    tokio::spawn(future).await.expect("no panic")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_of_borrowing_children_is_driven_in_a_spawned_task() {
    let output = spawned(async {
        let urls = urls();
        let mut group = Group::new().with_limit(4);
        for url in &urls {
            if group.go(fetch(url)).await.is_err() {
                break;
            }
        }
        group.await
    });
    output.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_with_each_policy_are_spawned() {
    let outputs = spawned(async {
        let urls = urls();
        let mut any = Group::new().with_limit(4).collect();
        let mut text = Group::new().with_limit(4).collect();
        for url in &urls {
            if any.go(fetch(url)).await.is_err() || text.go(check(url)).await.is_err() {
                break;
            }
        }
        (any.await.unwrap(), text.await)
    });
    let (any, text) = outputs.await;
    assert_eq!(Ok(any), text);

    let outputs = spawned(async {
        let urls = [urls(), vec![String::new()]].concat();
        let (mut any, mut text) = (Group::new().all_errors(), Group::unboxed().all_errors());
        let every = |url| fetch(url);
        any.feed(stream::iter(urls.iter().map(|url| every(url)))).await;
        text.feed(stream::iter(urls.iter().map(|url| check(url)))).await;
        (any.await, text.await)
    });
    let (any, text) = outputs.await;
    assert_eq!(any.unwrap_err().to_string(), "1 error: no such page");
    assert_eq!(text.unwrap_err().first(), Some(&"no such page"));

    let outputs = spawned(async {
        let urls = urls();
        let (mut any, mut text) = (Group::new().settle(), Group::new().settle());
        any.queue(fetch(&urls[0]));
        text.queue(check(&urls[0]));
        futures::join!(any, text)
    });
    let (any, text) = outputs.await;
    assert_eq!(any.into_iter().map(Result::unwrap).map(Ok).collect::<Vec<_>>(), text);

    let outputs = spawned(async {
        let urls = urls();
        let urls = &urls;
        let ((), any) = Group::new()
            .first_ok()
            .scope(async |handle| {
                for url in ["", &urls[0]] {
                    handle.go(fetch(url)).await.ok();
                }
            })
            .await;
        let mut text = Group::unboxed().first_ok();
        text.queue(check(""));
        text.queue(check(&urls[0]));
        (any.unwrap(), text.await)
    });
    assert_eq!(outputs.await, (7, Ok(7)));

    let outputs = spawned(async {
        let urls = urls();
        let (mut any, mut text) = (Group::new().first_done(), Group::new().first_done());
        for url in &urls {
            any.queue(fetch(url));
            text.queue(check(url));
        }
        (any.await.map(Result::unwrap), text.await)
    });
    assert_eq!(outputs.await, (Some(7), Some(Ok(7))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_groups_work_in_join_and_try_join() {
    let output = spawned(async {
        let urls = urls();
        let (mut first, mut second) = (Group::new(), Group::new());
        for url in &urls {
            first.queue(fetch(url));
            second.queue(check(url));
        }
        let (first, second) = futures::join!(first, second);
        first.unwrap();
        second.unwrap();

        let (mut first, mut second) = (Group::new().with_limit(1), Group::new());
        first.queue(check(&urls[0]));
        second.queue(check(""));
        futures::try_join!(first, second)
    });
    assert_eq!(output.await, Err("no such page"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_of_a_closure_over_borrowed_inputs_is_send() {
    let output = spawned(async {
        let urls = urls();
        let mut group = Group::new().with_limit(3);
        let admitted = group.feed(stream::iter(urls.iter().map(|url| fetch(url)))).await;
        let mut plain = Group::unboxed().with_limit(3);
        let also = plain.feed(stream::iter(urls.iter().map(|url| check(url)))).await;
        let _ = futures::join!(group, plain);
        admitted + also
    });
    assert_eq!(output.await, 40);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_works_in_join_with_the_other_groups() {
    let admitted = spawned(async {
        let urls = urls();
        let (mut first, mut second) = (Group::new(), Group::unboxed().with_limit(2));
        let fetch = |url| fetch(url);
        let both = futures::join!(
            first.feed(stream::iter(urls.iter().map(|url| fetch(url)))),
            second.feed(stream::iter(urls.iter().map(|url| check(url)))),
        );
        drop((first, second));
        both
    });
    assert_eq!(admitted.await, (20, 20));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scopes_with_a_static_str_error_are_send() {
    let output = spawned(async {
        let urls = urls();
        let urls = &urls;
        let (seen, output) = Group::new()
            .with_limit(2)
            .scope(async |handle| {
                for url in urls {
                    if handle.go(check(url)).await.is_err() {
                        break;
                    }
                }
                urls.len()
            })
            .await;
        output.unwrap();
        let (also, output) = Group::new()
            .scope(|handle| async move {
                handle.queue(check(&urls[0]));
                yield_now().await;
                1
            })
            .await;
        output.unwrap();
        let result: Result<usize, &'static str> = Group::new()
            .try_scope(async |handle| {
                handle.queue(check(&urls[0]));
                yield_now().await;
                Ok(seen + also)
            })
            .await;
        result
    });
    assert_eq!(output.await, Ok(21));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scopes_work_in_join_and_select() {
    spawned(async {
        let urls = urls();
        let scope = |url| {
            Group::new().scope(async move |handle| {
                handle.go(fetch(url)).await.ok();
                handle.feed(stream::iter([fetch(url), fetch(url)])).await
            })
        };
        let ((first, _), (second, _)) = futures::join!(scope(&urls[0]), scope(&urls[1]));
        assert_eq!((first, second), (2, 2));
        let mut group = Group::new();
        group.queue(check(&urls[0]));
        tokio::select! {
            biased;
            _ = std::future::pending::<()>() => unreachable!(),
            output = &mut group => output.unwrap(),
        }
        let mut group = Group::new();
        group.queue(check(&urls[0]));
        let mut never = futures::future::pending::<()>();
        futures::select! {
            () = never => unreachable!(),
            output = group => output.unwrap(),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_and_scopes_work_in_futures_unordered_and_buffer_unordered() {
    let total: usize = spawned(async {
        let urls = urls();
        let group = |url| {
            let mut group = Group::new();
            group.queue(check(url));
            group
        };
        let mut groups: FuturesUnordered<_> = urls.iter().map(|url| group(url)).collect();
        let mut total = 0;
        while let Some(output) = groups.next().await {
            output.unwrap();
            total += 1;
        }
        let scope = |url: &'_ String| {
            let url = url.clone();
            Group::new().scope(async move |handle| {
                handle.go(async move { check(&url).await }).await.is_ok()
            })
        };
        let mut scopes = stream::iter(urls.iter().map(scope)).buffer_unordered(3);
        while let Some((admitted, output)) = scopes.next().await {
            output.unwrap();
            total += usize::from(admitted);
        }
        total
    })
    .await;
    assert_eq!(total, 40);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_nests_in_a_group() {
    let output = spawned(async {
        let urls = urls();
        let mut outer = Group::new().with_limit(2);
        for url in &urls {
            let token = outer.token().clone();
            outer.queue(async move {
                let mut inner = Group::new().with_parent(&token);
                inner.queue(fetch(url));
                inner.queue(fetch(url));
                inner.await.map(|()| 2_usize)
            });
        }
        outer.await
    });
    output.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handles_go_and_feed_and_closed_are_spawned() {
    let group = Group::new().with_limit(1);
    let handle = group.handle();
    let go = tokio::spawn(handle.go(async { Ok::<usize, AnyError>(1) }));
    let feed = tokio::spawn(handle.feed(stream::iter([async { Ok(2) }])));
    let closed = tokio::spawn(handle.closed());
    let add = tokio::spawn({
        let handle = handle.clone();
        async move { handle.go(async { Ok(1) }).await.is_ok() }
    });
    let (body, output) = group
        .scope(async move |_| (go.await.unwrap().is_ok(), feed.await.unwrap(), add.await.unwrap()))
        .await;
    assert_eq!(body, (true, 1, true));
    output.unwrap();
    closed.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn room_is_waited_for_in_spawned_tasks_and_in_the_combinators() {
    let added = spawned(async {
        let urls = urls();
        let urls = &urls;
        let mut group = Group::new().with_limit(2);
        for url in urls {
            if group.ready().await.is_err() || group.try_go(fetch(url)).is_err() {
                break;
            }
        }
        let (handle, other) = (group.handle(), Group::unboxed().with_limit(1));
        let (hold, unboxed) = (group.hold(), other.handle());
        let adding = async {
            for url in urls {
                let (slot, another) = futures::join!(handle.reserve(), unboxed.reserve());
                slot.unwrap().go(fetch(url)).ok();
                another.unwrap().go(check(url)).unwrap();
            }
            drop(hold);
        };
        let slots: Vec<_> = FuturesUnordered::from_iter([unboxed.reserve()]).collect().await;
        drop(slots);
        let ((), all, checked) = futures::join!(adding, group, other);
        all?;
        Ok::<_, AnyError>((handle.stats().ok, checked))
    });
    assert_eq!(added.await.unwrap(), (40, Ok(())));

    let group = Group::<errgroup::Boxed<'_, usize, &'static str>>::new().with_limit(1);
    let slot = tokio::spawn(group.handle().reserve()).await.unwrap().unwrap();
    assert!(tokio::spawn(async { slot.go(async { Ok(0) }) }).await.unwrap().is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_that_holds_its_own_groups_handle_is_send() {
    let output = spawned(async {
        let mut group = Group::new().with_limit(1);
        let handle = group.handle();
        group.queue(async move {
            handle.go(async { Ok::<usize, &'static str>(0) }).await.ok();
            Ok(0)
        });
        group.await
    });
    assert_eq!(output.await, Ok(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn token_futures_are_send_around_borrows() {
    let output = spawned(async {
        let urls = urls();
        let token = CancelToken::new();
        let run = token.run(check(&urls[0]));
        let (output, reason) = futures::join!(run, async {
            yield_now().await;
            token.child().is_cancelled()
        });
        (output, reason)
    });
    let (output, cancelled) = output.await;
    assert_eq!(output.unwrap(), Ok(7));
    assert!(!cancelled);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_map_of_borrowed_inputs_is_spawned() {
    let outputs = spawned(async {
        let urls = urls();
        let any = errgroup::map(8, &urls, |url| fetch(url)).await?;
        let text = errgroup::map(8, &urls, |url| check(url)).await?;
        let (base, part) = (String::from("/page"), 3);
        let more = errgroup::map(8, urls.iter().filter(|url| url.len() > part), async |url| {
            Ok::<_, AnyError>(fetch(&base).await? + fetch(url).await?)
        });
        let more = more.await?;
        let named = errgroup::map(2, ["a", "b"], fetch).await?;
        errgroup::for_each(8, &urls, |url| fetch(url)).await?;
        errgroup::for_each(8, &urls, |url| check(url)).await?;
        errgroup::for_each(3, urls, async |url| fetch(&url).await.map(drop)).await?;
        Ok::<_, AnyError>((any, text, more.len(), named))
    });
    let (any, text, more, named) = outputs.await.unwrap();
    assert_eq!(any, text);
    assert_eq!((more, named), (20, vec![1, 1]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_map_works_in_the_combinators() {
    spawned(async {
        let urls = urls();
        let page = |url| fetch(url);
        let (any, text, each, other) = futures::join!(
            errgroup::map(8, &urls, |url| page(url)),
            errgroup::map(8, &urls, |url| check(url)),
            errgroup::for_each(8, &urls, |url| page(url)),
            yield_now(),
        );
        assert_eq!((any.unwrap(), each.unwrap(), other), (text.unwrap(), (), ()));
        let both = futures::try_join!(
            errgroup::map(8, &urls, |url| fetch(url)),
            errgroup::for_each(8, &urls, |url| fetch(url)),
        );
        assert_eq!(both.unwrap().0.len(), 20);
        let both = tokio::try_join!(
            errgroup::map(8, &urls, |url| check(url)),
            errgroup::for_each(8, ["", &urls[0]], check),
        );
        assert_eq!(both, Err("no such page"));
        let (any, text, each, Ok(values)) = futures::join!(
            errgroup::map_stream(8, stream::iter(&urls), |url| page(url)),
            errgroup::map_stream(8, stream::iter(&urls), |url| check(url)),
            errgroup::for_each_stream(8, stream::iter(&urls), |url| page(url)),
            errgroup::map(8, &urls, |url| errgroup::value(async { check(url).await.is_ok() })),
        );
        assert_eq!((any.unwrap(), each.unwrap()), (text.unwrap(), ()));
        assert_eq!(values, vec![true; 20]);
        let both = futures::try_join!(
            errgroup::map_stream(8, stream::iter(&urls), |url| check(url)),
            errgroup::for_each_stream(8, stream::iter(["", &urls[0]]), check),
        );
        assert_eq!(both, Err("no such page"));
        let mut never = futures::future::pending::<()>();
        let mut all = errgroup::map(8, &urls, |url| check(url));
        futures::select! {
            () = never => unreachable!(),
            output = all => assert_eq!(output.unwrap().len(), 20),
        }
        tokio::select! {
            biased;
            () = std::future::pending() => unreachable!(),
            output = errgroup::for_each(8, &urls, |url| fetch(url)) => output.unwrap(),
        }
        let maps = urls.chunks(5).map(|part| errgroup::map(2, part, |url| fetch(url)));
        let mut maps: FuturesUnordered<_> = maps.collect();
        while let Some(output) = maps.next().await {
            assert_eq!(output.unwrap().len(), 5);
        }
        let maps = urls.chunks(5).map(|part| errgroup::for_each(2, part, |url| check(url)));
        let mut maps = stream::iter(maps.collect::<Vec<_>>()).buffer_unordered(2);
        while let Some(output) = maps.next().await {
            output.unwrap();
        }
        // A child of a group, and a map within a map.
        let mut group = Group::new().collect();
        group.queue(errgroup::map(2, &urls, |url| fetch(url)));
        let parts = urls.chunks(5);
        group.queue(async {
            let nested = errgroup::map(2, parts, |part| errgroup::map(2, part, |url| fetch(url)));
            Ok(nested.await?.concat())
        });
        let both = group.await.unwrap();
        assert_eq!(both[0], both[1]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hedges_are_spawned_and_work_in_the_combinators() {
    spawned(async {
        let urls = urls();
        let urls = &urls;
        let soon = |_| yield_now();
        let any = errgroup::hedge(3, |n| fetch(&urls[n]), soon).await;
        let text = errgroup::hedge(3, |n| check(&urls[n]), |_| tokio::task::yield_now()).await;
        assert_eq!(any.unwrap(), text.unwrap());
        let page = |n: usize| fetch(&urls[n]);
        let (any, text) = futures::join!(
            errgroup::hedge(3, &page, |_| yield_now()),
            errgroup::hedge(3, async |_| check("").await, async |n| urls[n].len()),
        );
        assert_eq!((any.unwrap(), text.unwrap_err().len()), (7, 3));
        let both = futures::try_join!(
            errgroup::hedge(3, |n| fetch(&urls[n]), |_| yield_now()),
            errgroup::hedge(3, page, soon),
        );
        assert_eq!(both.unwrap(), (7, 7));
        let mut hedges: FuturesUnordered<_> =
            urls.iter().map(|url| errgroup::hedge(2, move |_| fetch(url), soon)).collect();
        while let Some(output) = hedges.next().await {
            output.unwrap();
        }
        // Its futures are hedges.
        let all = errgroup::map(4, urls, |url| errgroup::hedge(2, move |_| check(url), soon));
        assert_eq!(all.await.unwrap().len(), 20);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joinable_children_and_their_handles_are_spawned_with_their_group() {
    let output = spawned(async {
        let urls = urls();
        let mut any = Group::new().with_limit(4);
        let mut text = Group::unboxed().with_limit(4).drop_on_stop();
        let mut pages = FuturesUnordered::new();
        let mut lengths = Vec::new();
        for url in &urls {
            let (child, handle) = task(fetch(url)).name("page").joinable();
            pages.push(handle);
            if any.go(child.until_stop()).await.is_err() {
                break;
            }
            let (child, handle) = task(check(url)).joinable();
            lengths.push(handle.abort_on_drop());
            text.queue(child.weight(2));
        }
        let adding = async {
            let mut sum = 0;
            while let Some(length) = pages.next().await {
                sum += length.map_err(|lost| Box::new(lost) as AnyError)?;
            }
            Ok::<_, AnyError>(sum)
        };
        let (any, text, sum) = futures::join!(any, text, adding);
        for length in lengths {
            assert!(length.await.is_ok());
        }
        (any.is_ok(), text, sum.unwrap())
    });
    assert_eq!(output.await, (true, Ok(()), 150));
}

#[test]
fn a_map_that_is_not_send_runs_on_its_own_thread() {
    let shared = std::rc::Rc::new(std::cell::Cell::new(0));
    let output = futures::executor::block_on(errgroup::map(2, 0..5, |n| {
        let shared = std::rc::Rc::clone(&shared);
        async move {
            shared.set(shared.get() + n);
            Ok::<_, &str>(shared)
        }
    }));
    assert_eq!((output.unwrap().len(), shared.get()), (5, 10));
}

#[test]
fn a_group_with_a_local_child_runs_on_its_own_thread() {
    let shared = std::rc::Rc::new(std::cell::Cell::new(0));
    let output = futures::executor::block_on(async {
        let mut group = Group::local().with_limit(2);
        for n in 0..5 {
            let shared = std::rc::Rc::clone(&shared);
            if group
                .go(async move {
                    shared.set(shared.get() + n);
                    Ok::<usize, &str>(0)
                })
                .await
                .is_err()
            {
                break;
            }
        }
        group.await
    });
    assert_eq!((output, shared.get()), (Ok(()), 10));
}

#[test]
fn auto_traits_are_those_of_the_parts() {
    use errgroup::{Boxed, Handle, LocalBoxed, Plain, Stats};
    fn send<T: Send>() {}
    fn sync<T: Sync>() {}
    fn unpin<T: Unpin>() {}

    type Group1<'a> = Group<Boxed<'a, std::rc::Rc<()>, Arc<()>>>;
    type Pinned = std::marker::PhantomPinned;
    send::<Group1<'_>>();
    unpin::<Group1<'_>>();
    unpin::<Group<LocalBoxed<'_, usize, &'static str>>>();
    unpin::<Group<Plain<std::future::Ready<Result<(), Pinned>>>>>();
    send::<Handle<Boxed<'_, usize, &'static str>>>();
    sync::<Handle<Boxed<'_, usize, &'static str>>>();
    sync::<Handle<Plain<std::future::Ready<Result<usize, &'static str>>>>>();
    send::<errgroup::future::Closed>();
    send::<errgroup::future::Watchdog<(), (), ()>>();
    send::<errgroup::future::Reserve<Boxed<'_, usize, &'static str>>>();
    send::<errgroup::Slot<Boxed<'_, usize, &'static str>>>();
    sync::<errgroup::Slot<Boxed<'_, usize, &'static str>>>();
    send::<errgroup::future::Ready<'_, Boxed<'_, (), Arc<()>>, (), Pinned>>();
    unpin::<errgroup::future::Ready<'_, LocalBoxed<'_, (), Pinned>, Pinned, Pinned>>();
    unpin::<errgroup::future::Reserve<LocalBoxed<'_, (), Pinned>>>();
    send::<errgroup::Hold>();
    sync::<errgroup::Hold>();
    type Pin<T> = std::future::Ready<Result<T, Pinned>>;
    send::<errgroup::future::Map<std::ops::Range<u8>, fn(u8), Pin<()>, (), Arc<()>>>();
    unpin::<errgroup::future::Map<Pinned, Pinned, Pin<Pinned>, Pinned, Pinned>>();
    unpin::<errgroup::future::ForEach<Pinned, Pinned, Pin<Pinned>, Pinned>>();
    send::<errgroup::future::MapStream<stream::Pending<u8>, fn(u8), Pin<()>, (), Arc<()>>>();
    unpin::<errgroup::future::MapStream<(), Pinned, Pin<Pinned>, Pinned, Pinned>>();
    unpin::<errgroup::future::ForEachStream<(), Pinned, Pin<Pinned>, Pinned>>();
    send::<errgroup::future::Hedge<fn(), Pin<()>, (), Arc<()>, fn(), Pin<()>>>();
    unpin::<errgroup::future::Hedge<Pinned, Pin<()>, (), (), Pinned, std::future::Ready<()>>>();
    sync::<Stats>();
    type Handle1<T> = errgroup::ChildHandle<T>;
    send::<Handle1<std::cell::Cell<()>>>();
    sync::<Handle1<std::cell::Cell<()>>>();
    unpin::<Handle1<Pinned>>();
    send::<errgroup::Joinable<Pin<()>, ()>>();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_group_owns_besides_its_children_may_borrow_as_they_do() {
    async fn never(url: &str) -> Result<usize, AnyError> {
        std::future::pending::<()>().await;
        Ok(url.len())
    }

    let output = spawned(async {
        let urls = urls();
        let (mut any, mut text) = (
            Group::new().with_deadline(never(&urls[0])).with_grace(|| never(&urls[1])),
            Group::new().with_grace(async || fetch(&urls[1]).await).with_deadline(check(&urls[1])),
        );
        for url in &urls {
            if any.go(fetch(url)).await.is_err() || text.go(check(url)).await.is_err() {
                break;
            }
        }
        futures::join!(any, text)
    });
    let (any, text) = output.await;
    assert_eq!((any.unwrap(), text), ((), Ok(())));

    let output = spawned(async {
        let urls = urls();
        let mut plain = Group::unboxed()
            .with_deadline(std::future::pending::<()>())
            .with_grace(|| std::future::ready(()))
            .with_limit(2)
            .collect();
        let check = |url| check(url);
        let admitted = plain.feed(stream::iter(urls.iter().map(|url| check(url)))).await;
        let urls = &urls;
        let scope =
            Group::new().with_deadline(never(&urls[0])).with_limit(3).try_scope(async |handle| {
                for url in urls {
                    handle.go(check(url)).await.ok();
                }
                Ok(())
            });
        (admitted, plain.await.map(|all| all.len()), scope.await)
    });
    assert_eq!(output.await, (20, Ok(20), Ok(())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_for_which_a_cancel_is_an_error_may_borrow() {
    #[derive(Debug, PartialEq)]
    struct UrlStopped<'a>(&'a str, String);
    impl From<errgroup::CancelError> for UrlStopped<'_> {
        fn from(error: errgroup::CancelError) -> Self {
            Self("cancelled", error.to_string())
        }
    }
    async fn ask<'a>(url: &'a str, token: CancelToken) -> Result<usize, UrlStopped<'a>> {
        token.cancelled().await;
        Ok(url.len())
    }

    let output = spawned(async {
        let urls = urls();
        let mut any = Group::new()
            .with_deadline(check(&urls[0]))
            .with_grace(|| fetch(&urls[1]))
            .collect()
            .err_on_cancel();
        for url in &urls {
            any.queue(fetch(url));
            any.queue(async { std::future::pending().await });
        }
        let mut stopped = Group::new().with_deadline(fetch(&urls[0])).err_on_cancel();
        let token = stopped.token().clone();
        let ask = |url| ask(url, token.clone());
        stopped.feed(stream::iter(urls.iter().map(|url| ask(url)))).await;
        let scope = Group::new().with_deadline(fetch(&urls[0])).err_on_cancel().try_scope(
            async |handle| -> Result<(), AnyError> {
                handle.queue(fetch(&urls[0]));
                Ok(handle.token().run(std::future::pending::<()>()).await?)
            },
        );
        let scope = scope.await.map_err(|error| error.to_string());
        let (any, stopped) = futures::join!(any, stopped);
        (any.map_err(|error| error.to_string()), stopped.map_err(|stopped| stopped.1), scope)
    });
    let cut = "cancelled: the deadline has passed".to_string();
    assert_eq!(output.await, (Err(cut.clone()), Err(cut.clone()), Err(cut)));
}

#[tokio::test]
async fn a_local_groups_deadline_and_grace_may_borrow_and_need_not_be_send() {
    let shared = std::rc::Rc::new(std::cell::Cell::new(0));
    let group = Group::local()
        .with_deadline(async {
            yield_now().await;
            shared.set(shared.get() + 1);
        })
        .with_grace(|| async {
            yield_now().await;
            shared.set(shared.get() + 1);
        });
    let output = group.scope(async |handle| {
        handle.queue(async {
            let _shared = std::rc::Rc::clone(&shared);
            std::future::pending::<Result<usize, &'static str>>().await
        });
        handle.token().cancelled().await
    });
    let (reason, output) = output.await;
    output.unwrap();
    assert_eq!((reason, shared.get()), (errgroup::Reason::Deadline, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_of_spawned_children_is_itself_driven_in_a_spawned_task() {
    fn on<T: Send + 'static, E: Send + 'static>() -> Group<errgroup::Spawned<T, E>> {
        Group::on(|child| drop(tokio::spawn(child)))
    }
    async fn owned(url: String) -> Result<usize, AnyError> {
        fetch(&url).await
    }
    async fn text(url: String) -> Result<usize, &'static str> {
        check(&url).await
    }
    let outputs = spawned(async {
        let (mut any, mut bare) = (on().with_limit(4).collect(), on().with_limit(4).settle());
        for url in urls() {
            if any.go(owned(url.clone())).await.is_err() || bare.go(text(url)).await.is_err() {
                break;
            }
        }
        let feed = any.feed(stream::iter(urls().into_iter().map(owned)));
        let other = bare.feed(stream::iter(urls().into_iter().map(text)));
        assert_eq!(futures::join!(feed, other), (20, 20));
        futures::join!(any, bare)
    });
    let (any, bare) = outputs.await;
    assert_eq!((any.unwrap().len(), bare.len()), (40, 40));

    let output = spawned(async {
        let group = on::<usize, &'static str>().with_limit(2);
        let scope = group.try_scope(async |handle| {
            for url in urls() {
                if handle.go(text(url)).await.is_err() {
                    return Err("stopped");
                }
            }
            handle.queue(async { Err("no such page") });
            Ok(())
        });
        futures::select! {
            output = futures::FutureExt::fuse(scope) => output,
            () = futures::future::pending() => Ok(()),
        }
    });
    assert_eq!(output.await, Err("no such page"));

    let mut set = FuturesUnordered::new();
    for _ in 0..3 {
        let mut group = on::<usize, AnyError>();
        group.queue(owned("/".into()));
        set.push(group);
    }
    while let Some(output) = set.next().await {
        output.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_of_results_are_spawned() {
    let lengths = spawned(async {
        let urls = urls();
        let urls = &urls;
        let (mut any, mut text) = (Group::new().results(), Group::unboxed().results().in_order());
        any.queue(fetch(&urls[0]));
        text.queue(check(&urls[0]));
        let (mut sum, token) = (0, any.token().clone());
        while let Some(length) = any.try_next().await? {
            sum += length;
        }
        while let Some(Ok(length)) = text.next().await {
            sum += length;
        }
        let fed = Group::new().with_limit(4).results().fail_fast();
        let fed = fed.feed(stream::iter(urls.iter().map(|url| fetch(url))));
        let in_order = Group::new().with_limit(4).results().in_order();
        let in_order = in_order.feed(stream::iter(urls.iter().map(|url| check(url))));
        let unboxed = Group::unboxed().with_limit(4).results();
        let unboxed = unboxed.feed(stream::iter(urls.iter().map(|url| check(url))));
        let (fed, in_order, unboxed) = futures::join!(
            fed.try_collect::<Vec<_>>(),
            in_order.try_collect::<Vec<_>>(),
            unboxed.count(),
        );
        // Being empty is no end.
        assert!(!token.is_cancelled());
        Ok::<_, AnyError>((sum, fed?.len(), in_order?.len(), unboxed))
    });
    assert_eq!(lengths.await.unwrap(), (14, 20, 20, 20));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_of_results_work_in_the_combinators() {
    let total = spawned(async {
        let urls = urls();
        let urls = &urls;
        let group = Group::new().with_limit(4);
        let handle = group.handle();
        let adding = async {
            for url in urls {
                handle.go(fetch(url)).await.ok();
            }
        };
        let results = group.results().in_order();
        let ((), count) = futures::join!(adding, results.count());

        let all = stream::iter(0..3).map(|_| {
            let group = Group::new().with_limit(2);
            group.results().feed(stream::iter(urls.iter().map(|url| check(url)))).count()
        });
        let counts: Vec<usize> = all.buffer_unordered(2).collect().await;

        let mut results = Group::new().results();
        results.queue(fetch(&urls[0]));
        let mut ticks = stream::repeat(()).then(|()| Box::pin(yield_now())).fuse();
        let mut selected = 0;
        while selected == 0 {
            futures::select! {
                length = results.next() => selected = length.unwrap()?,
                () = ticks.select_next_some() => {}
            }
        }
        Ok::<_, AnyError>((count, counts, selected))
    });
    assert_eq!(total.await.unwrap(), (20, vec![20; 3], 7));
}

#[test]
fn an_observed_group_is_send_whatever_its_observer_borrows() {
    fn spawned<F: std::future::Future + Send>(future: F) -> F {
        future
    }
    async fn watched(names: &[String], heard: &mut Vec<String>) -> Result<(), AnyError> {
        let mut group =
            errgroup::Group::new().with_limit(2).with_observer(|event: &errgroup::Event| {
                heard.push(format!("{event} of {}", names.len()))
            });
        for name in names {
            group.queue(
                errgroup::task(async move {
                    (name.len() == 1).then_some(1_usize).ok_or_else(|| name.as_str().into())
                })
                .name(name.clone()),
            );
        }
        group.await
    }
    async fn bare(names: &[String], heard: &mut Vec<String>) -> Result<(), &'static str> {
        let group = errgroup::Group::new().with_observer(|_: &errgroup::Event| {
            heard.push(names.concat());
        });
        let (body, output) =
            group.scope(async |handle| handle.queue(async move { Ok(names.len()) })).await;
        output.map(|()| body)
    }
    let names = ["a".to_string(), "b".to_string()];
    let (mut one, mut two) = (Vec::new(), Vec::new());
    let both = spawned(async { futures::join!(watched(&names, &mut one), bare(&names, &mut two)) });
    let (first, second) = futures::executor::block_on(both);
    assert!(first.is_ok() && second.is_ok());
    assert_eq!((one.len(), two.len()), (5, 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn children_with_options_are_taken_everywhere_and_may_borrow() {
    let output = spawned(async {
        let urls = urls();
        let cap = Arc::new(async_lock::Semaphore::new(3));
        let mut any = Group::new().with_limit(4).with_semaphore(Arc::clone(&cap));
        let mut text = Group::new().with_limit(4).with_semaphore(Arc::clone(&cap));
        for (url, n) in urls.iter().zip(0..) {
            if any.go(task(fetch(url)).weight(2).name(url.clone())).await.is_err()
                || text.go(task(check(url)).priority(n).daemon()).await.is_err()
            {
                break;
            }
        }
        any.feed(stream::iter(urls.iter().map(|url| task(fetch(url)).weight(9)))).await;
        let handle = text.handle();
        let late = async {
            let _ = handle.go(task(check(&urls[0])).weight(3)).await;
            handle.feed(stream::iter(urls.iter().map(|url| task(check(url)).priority(1)))).await
        };
        let (any, text, fed) = futures::join!(any, text, late);
        any.unwrap();
        text.unwrap();
        (fed, cap.try_acquire().is_some())
    });
    let (fed, free) = output.await;
    assert!(fed <= 20 && free);

    let output = spawned(async {
        let urls = urls();
        let (urls, group) = (&urls, Group::new().with_limit(2));
        group
            .try_scope(async |handle| {
                for url in urls {
                    if handle.go(task(check(url)).weight(2).daemon()).await.is_err() {
                        break;
                    }
                }
                Ok(urls.len())
            })
            .await
    });
    assert_eq!(output.await, Ok(20));
}

#[test]
fn a_handle_of_any_children_is_send_if_they_are() {
    fn is_send<T: Send + Sync>(_: &T) {}
    fn check<C: Children + Send>(handle: &Handle<C>) {
        is_send(handle);
    }
    let group = Group::<errgroup::Boxed<'_, usize, &'static str>>::new();
    check(&group.handle());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_with_names_and_reasons_work_in_a_spawned_task() {
    let output = spawned(async {
        let urls = urls();
        let urls = &urls;
        let cause = |error: &AnyError| Reason::cause(format!("{error} of {}", urls.len()));
        let mut any = Group::new().with_limit(4).with_reason(cause).named();
        let mut text = Group::unboxed().all_errors().tolerate(2).named();
        let mut awaited = Group::new().collect().named().with_reason(|_: &&str| Reason::Done);
        for url in urls {
            if any.go(task(fetch(url)).name(url.clone())).await.is_err() {
                break;
            }
            text.queue(task(check(url)));
            awaited.queue(check(url));
        }
        let scope = Group::new().with_limit(2).collect().try_scope(async |handle| {
            for url in urls {
                handle.queue(check(url));
            }
            Ok::<_, &'static str>(urls.len())
        });
        let (any, text, awaited, scope) = futures::join!(any, text, awaited, scope);
        (any.is_ok(), text.is_ok(), awaited.is_ok(), scope.map(|(n, all)| (n, all.len())))
    });
    assert_eq!(output.await, (true, true, true, Ok((20, 20))));
}

/// No type that contains the children and is in a handle may have a destructor of its own.
#[test]
fn a_handle_may_be_dropped_after_what_the_children_borrow() {
    let (handle, text);
    text = String::from("borrowed");
    let mut group = Group::unboxed();
    handle = group.handle();
    group.queue(std::future::ready(Ok::<&str, ()>(&text)));
    drop(group);
    assert!(handle.is_stopped());
}
