//! The errors of a child that can't be admitted, and the reasons of a cancel.

use std::error::Error;
use std::fmt;
use std::future::{Ready, ready};
use std::io;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

use crate::common::{MockTask, job};
use errgroup::future::Closed;
use errgroup::{
    Boxed, CancelError, CancelToken, Collect, Group, Handle, LocalBoxed, Plain, Reason, Spawned,
    Stopped, TryGoError,
};

type Jobs = Group<Boxed<'static, usize, &'static str>>;
/// A child that is not `Debug`.
struct Mute(Ready<Result<usize, &'static str>>);

impl Future for Mute {
    type Output = Result<usize, &'static str>;

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        std::pin::Pin::new(&mut self.0).poll(cx)
    }
}

fn mute(number: usize) -> Mute {
    Mute(ready(Ok(number)))
}

#[track_caller]
fn reads_well(error: &dyn Error) {
    let text = error.to_string();
    assert!(!text.is_empty() && !text.ends_with('.'), "{text:?}");
    assert_eq!(text, text.to_lowercase());
    assert!(!format!("{error:?}").is_empty());
}

fn stopped() -> Stopped<Mute> {
    let mut group = Jobs::new();
    group.token().cancel();
    MockTask::new().finish(group.go(mute(7))).unwrap_err()
}

#[test]
fn stopped_returns_the_child_and_says_so() {
    let stopped = stopped();
    let text = "the group has stopped or was closed: await it to learn more";
    assert_eq!(stopped.to_string(), text);
    assert_eq!(format!("{stopped:?}"), "Stopped(..)");
    assert_eq!(MockTask::new().finish(stopped.into_inner()), Ok(7));
}

#[test]
fn try_go_says_whether_the_group_is_full_or_stopped() {
    let mut group = Jobs::new().with_limit(1);
    assert!(group.try_go(mute(0)).is_ok());
    let at_limit = group.try_go(mute(1)).unwrap_err();
    assert!(matches!(at_limit, TryGoError::AtLimit(_)));
    group.token().cancel();
    let stopped = group.try_go(mute(2)).unwrap_err();
    assert!(matches!(stopped, TryGoError::Stopped(_)), "a stop outranks a full group");
    reads_well(&at_limit);
    reads_well(&stopped);
    assert_ne!(at_limit.to_string(), stopped.to_string());
    assert_ne!(format!("{at_limit:?}"), format!("{stopped:?}"));
    assert_eq!(MockTask::new().finish(at_limit.into_inner()), Ok(1));
    assert_eq!(MockTask::new().finish(stopped.into_inner()), Ok(2));
}

#[test]
fn an_error_of_try_go_converts_into_a_boxed_error() {
    fn other() -> Result<(), Box<dyn Error + Send + Sync>> {
        let mut group = Jobs::new().with_limit(1);
        group.try_go(mute(0))?;
        group.try_go(mute(1))?;
        Ok(())
    }
    assert!(other().unwrap_err().downcast_ref::<TryGoError<Mute>>().is_some());
}

#[test]
fn an_error_is_no_larger_than_the_child() {
    assert_eq!(size_of::<Stopped<Mute>>(), size_of::<Mute>());
    assert!(size_of::<TryGoError<u64>>() <= 2 * size_of::<u64>());
}

#[derive(Debug)]
struct Late;

impl fmt::Display for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the train was late")
    }
}

impl Error for Late {}

#[test]
fn a_cancel_error_has_the_reason_and_a_cause_shows_the_callers_error() {
    let error = |reason: Reason| -> CancelError {
        let token = CancelToken::new();
        token.cancel_with(reason);
        MockTask::new().finish(token.run(job(ready(Ok(1))))).unwrap_err()
    };
    for reason in [
        Reason::Cancelled,
        Reason::Failed,
        Reason::Panicked,
        Reason::Done,
        Reason::Deadline,
        Reason::Finished,
        Reason::Dropped,
    ] {
        let error = error(reason.clone());
        assert_eq!(error.reason(), &reason);
        reads_well(&error);
        assert!(!reason.to_string().is_empty());
    }
    let error = error(Reason::Cause(Arc::new(Late)));
    reads_well(&error);
    let chain = format!("{error}: {:?}", error.source().map(ToString::to_string));
    assert!(chain.contains("the train was late"), "{chain}");
    let Reason::Cause(cause) = error.reason() else {
        panic!("the reason is no cause");
    };
    assert!(cause.downcast_ref::<Late>().is_some());
}

#[test]
fn reasons_are_equal_by_kind_and_a_cause_by_pointer() {
    let cause = || Reason::Cause(Arc::new(Late));
    let one = cause();
    assert_eq!(one, one.clone());
    assert_ne!(one, cause());
    assert_ne!(one, Reason::Cancelled);
    assert_ne!(Reason::Failed, Reason::Panicked);
    let said: std::collections::BTreeSet<_> = [
        Reason::Cancelled,
        Reason::Failed,
        Reason::Panicked,
        Reason::Done,
        Reason::Deadline,
        Reason::Finished,
        Reason::Dropped,
    ]
    .iter()
    .map(ToString::to_string)
    .collect();
    assert_eq!(said.len(), 7, "each has a text of its own");
}

/// An error with a source, which it does not show itself.
#[derive(Debug)]
struct Unread(io::Error);

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the file is unread")
    }
}

impl Error for Unread {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

fn unread() -> Unread {
    Unread(io::Error::other("the disk is gone"))
}

#[test]
fn a_cancel_error_shows_its_cause_once() {
    let error = CancelError::from(Reason::cause(unread()));
    let shown = "the file is unread: the disk is gone";
    assert_eq!(format!("{:#}", anyhow::Error::from(error.clone())), shown);
    assert_eq!(format!("{:#}", anyhow::Error::from(io::Error::from(error))), shown);
    let error = anyhow::Error::from(CancelError::from(Reason::Deadline));
    assert_eq!(format!("{error:#}"), "cancelled: the deadline has passed");
}

#[test]
fn a_cancel_error_is_an_io_error_of_a_fitting_kind() {
    let kind = |reason| io::Error::from(CancelError::from(reason)).kind();
    assert_eq!(kind(Reason::Deadline), io::ErrorKind::TimedOut);
    assert_eq!(kind(Reason::Cancelled), io::ErrorKind::Interrupted);
    assert_eq!(kind(Reason::cause(unread())), io::ErrorKind::Interrupted);
    let error = io::Error::from(CancelError::from(Reason::Done));
    let inner = error.get_ref().and_then(|error| error.downcast_ref::<CancelError>());
    assert_eq!(inner.map(CancelError::reason), Some(&Reason::Done));
}

#[test]
fn what_callers_keep_is_unwind_safe() {
    fn is_safe<T: UnwindSafe + RefUnwindSafe>() {}
    is_safe::<Reason>();
    is_safe::<CancelError>();
    is_safe::<CancelToken>();
    is_safe::<Closed>();
    is_safe::<Jobs>();
    is_safe::<Group<LocalBoxed<'static, (), String>>>();
    is_safe::<Group<Plain<Ready<Result<(), String>>>, Collect<(), String>>>();
    is_safe::<Group<Spawned<(), CancelError>>>();
    is_safe::<Handle<Boxed<'static, (), String>>>();
    is_safe::<Handle<LocalBoxed<'static, (), String>>>();
}

#[test]
fn a_guard_lends_its_token_and_still_cancels_it() {
    let guard = CancelToken::new().drop_guard();
    let token = guard.token().clone();
    assert!(!token.is_cancelled());
    drop(guard);
    assert_eq!(token.reason(), Some(Reason::Dropped));
}

#[test]
fn a_token_is_awaited_as_its_cancel_is() {
    let (task, token) = (MockTask::new(), CancelToken::new());
    let mut waiting = token.clone().into_future();
    assert!(task.poll(&mut waiting).is_pending());
    token.cancel_with(Reason::Done);
    assert_eq!(task.wakes(), 1);
    assert_eq!(task.poll(&mut waiting), std::task::Poll::Ready(Reason::Done));
}
