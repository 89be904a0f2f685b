//! A group in a field, with a policy, and its future in another one.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use errgroup::{BoxedGroup, Collect, Failure, Group, Named, task};

/// What an upload returns, by its name: the policy of the group.
type Sizes = Named<Collect<u64, Failure<io::Error>>>;

/// Uploads that run together, as many as are allowed.
#[derive(Debug)]
pub struct Uploads<'a> {
    group: BoxedGroup<'a, u64, io::Error, Sizes>,
}

impl<'a> Uploads<'a> {
    /// Makes it, for so many uploads at a time.
    pub fn new(limit: usize) -> Self {
        Self { group: Group::new().with_limit(limit).collect().named() }
    }

    /// Adds an upload.
    pub fn add(
        &mut self,
        name: impl Into<String>,
        upload: impl Future<Output = io::Result<u64>> + Send + 'a,
    ) {
        self.group.queue(task(upload).name(name.into()));
    }
}

impl<'a> IntoFuture for Uploads<'a> {
    type Output = Result<u64, Failure<io::Error>>;
    type IntoFuture = Total<'a>;

    fn into_future(self) -> Total<'a> {
        Total { group: self.group }
    }
}

/// Future for [`Uploads`]: the sum of their sizes.
#[derive(Debug)]
pub struct Total<'a> {
    group: BoxedGroup<'a, u64, io::Error, Sizes>,
}

impl Future for Total<'_> {
    type Output = Result<u64, Failure<io::Error>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.group).poll(cx).map_ok(|sizes| sizes.into_iter().sum())
    }
}
