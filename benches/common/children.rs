//! The children that several workloads share.

use std::future::{Future, poll_fn};
use std::hint::black_box;
use std::pin::Pin;
use std::task::Poll;

/// What a child fails with.
pub(crate) type Failure = usize;
pub(crate) type Outcome = Result<(), Failure>;
pub(crate) type BoxedChild = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// A child that is pending `times` times, and wakes itself each time.
pub(crate) async fn yields(times: u32) -> Outcome {
    let mut left = black_box(times);
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
    Ok(())
}
