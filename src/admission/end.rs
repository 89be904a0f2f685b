//! The end of a group, seen from outside.

use core::future::Future;
use core::pin::Pin;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll};

use event_listener::{Event, EventListener};

/// The end of a group, for those who wait for it.
#[derive(Debug, Default)]
pub(crate) struct End {
    reached: AtomicBool,
    event: Event,
}

impl End {
    pub(super) fn reach(&self) {
        // Release: who sees the end sees all that came before it.
        self.reached.store(true, Ordering::Release);
        self.event.notify(usize::MAX);
    }

    fn is_reached(&self) -> bool {
        self.reached.load(Ordering::Acquire)
    }

    pub(crate) fn poll(
        &self,
        listener: &mut Option<EventListener>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        loop {
            if self.is_reached() {
                *listener = None;
                return Poll::Ready(());
            }
            match listener {
                Some(listening) => match Pin::new(listening).poll(cx) {
                    Poll::Ready(()) => *listener = None,
                    Poll::Pending => return Poll::Pending,
                },
                // Listen, then look again: the end may have come between.
                None => *listener = Some(self.event.listen()),
            }
        }
    }
}
