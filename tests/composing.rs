//! Every future of the crate is `Send` inside a spawned task, and stands bare in the
//! combinators, whatever its children borrow. These tests need only compile; they run too.

use std::error::Error;
use std::sync::Arc;

use errgroup::{CancelToken, Group};
use futures::stream::{self, FuturesUnordered, StreamExt};
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
    assert_eq!(any.unwrap_err().to_string(), "no such page");
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
async fn two_groups_stand_in_join_and_try_join() {
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
async fn a_feed_stands_in_join_with_the_other_groups() {
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
async fn scopes_stand_in_join_and_select() {
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
async fn groups_and_scopes_stand_in_futures_unordered_and_buffer_unordered() {
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
                inner.await
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
    let go = tokio::spawn(handle.go(async { Ok::<_, AnyError>(1) }));
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
async fn a_child_that_holds_its_own_groups_handle_is_send() {
    let output = spawned(async {
        let mut group = Group::new().with_limit(1);
        let handle = group.handle();
        group.queue(async move {
            handle.go(async { Ok::<(), &'static str>(()) }).await.ok();
            Ok(())
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

#[test]
fn a_group_with_a_local_child_runs_where_it_is() {
    let shared = std::rc::Rc::new(std::cell::Cell::new(0));
    let output = futures::executor::block_on(async {
        let mut group = Group::local().with_limit(2);
        for n in 0..5 {
            let shared = std::rc::Rc::clone(&shared);
            if group
                .go(async move {
                    shared.set(shared.get() + n);
                    Ok::<_, ()>(())
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
    unpin::<Group<LocalBoxed<'_, (), ()>>>();
    unpin::<Group<Plain<std::future::Ready<Result<(), Pinned>>>>>();
    send::<Handle<Boxed<'_, (), ()>>>();
    sync::<Handle<Boxed<'_, (), ()>>>();
    sync::<Handle<Plain<std::future::Ready<Result<(), ()>>>>>();
    send::<errgroup::future::Closed>();
    sync::<Stats>();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stands_beside_the_children_may_borrow_as_they_do() {
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
                    (name.len() == 1).then_some(()).ok_or_else(|| name.as_str().into())
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
