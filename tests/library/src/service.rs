//! A tower service whose calls are children of a group: it is ready when the group has room.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use errgroup::future::Reserve;
use errgroup::{Boxed, BoxedHandle, ChildHandle, Slot, task, value};
use tower_service::Service;

/// How the calls are held: they return nothing to the group.
type Calls = Boxed<'static, (), Infallible>;

/// A service whose calls run in a group, which limits them, and which its owner can stop.
pub struct Grouped<S> {
    inner: S,
    group: BoxedHandle<'static, (), Infallible>,
    /// Waits for room.
    wait: Option<Reserve<Calls>>,
    /// Room for the next call.
    room: Option<Slot<Calls>>,
}

impl<S> Grouped<S> {
    /// Wraps a service.
    pub fn new(inner: S, group: BoxedHandle<'static, (), Infallible>) -> Self {
        Self { inner, group, wait: None, room: None }
    }
}

impl<S: Clone> Clone for Grouped<S> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), self.group.clone())
    }
}

impl<S: fmt::Debug> fmt::Debug for Grouped<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grouped").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S, R> Service<R> for Grouped<S>
where
    S: Service<R>,
    S::Future: Send + 'static,
    S::Response: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = S::Response;
    type Error = Error<S::Error>;
    type Future = Answer<S::Response, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        if self.room.is_none() {
            let wait = self.wait.get_or_insert_with(|| self.group.reserve());
            let room = ready!(Pin::new(wait).poll(cx));
            self.wait = None;
            self.room = Some(room.map_err(|_stopped| Error::Stopped)?);
        }
        self.inner.poll_ready(cx).map_err(Error::Inner)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let (child, answer) = task(value(self.inner.call(request))).joinable();
        let room = self.room.take().expect("`poll_ready` has returned `Ready(Ok)`");
        // The answer says that the child is gone, if the group has stopped meanwhile.
        drop(room.go(child));
        Answer { answer }
    }
}

/// Why a call has no response.
#[derive(Debug)]
pub enum Error<E> {
    /// The group has stopped.
    Stopped,
    /// The service has failed.
    Inner(E),
}

impl<E: fmt::Display> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped => f.write_str("the group has stopped"),
            Self::Inner(error) => error.fmt(f),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for Error<E> {}

/// Future for the response of a call.
#[derive(Debug)]
pub struct Answer<T, E> {
    answer: ChildHandle<Result<T, E>>,
}

impl<T, E> Future for Answer<T, E> {
    type Output = Result<T, Error<E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.answer).poll(cx).map(|answer| match answer {
            Ok(response) => response.map_err(Error::Inner),
            Err(_lost) => Err(Error::Stopped),
        })
    }
}
