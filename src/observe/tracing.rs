use alloc::collections::BTreeMap;
use core::fmt;

use ::tracing::{Level, Span, event, field, info_span};

use super::{Event, Observer, Outcome};
use crate::reason::Reason;

/// An [`Observer`] that passes the events on to [`tracing`](https://docs.rs/tracing). Each child
/// has a span of its own, a child of the group's span.
///
/// The group's span is the one that is passed to [`new`](Self::new). For `default()` it is the span
/// that is current at the call: in a function with `#[instrument]`, the function's. If that span is
/// disabled, or there is none, the span that is current when the group is polled takes its place.
///
/// | what | level | fields |
/// | --- | --- | --- |
/// | the span `child`, from a child's start to its end; entered while it is polled | `INFO` | `index`; `name`, if it has one; at its end `outcome` |
/// | the event `stopped` | `INFO`; `DEBUG` if the reason is `Finished` or `Done` | `reason` |
/// | the event `queued` | `DEBUG` | `name` |
/// | the event `dropped before it started` | `DEBUG` | `name` |
/// | the event `rejected` | `DEBUG` | `name`, `stopped` |
/// | the event `limit changed` | `DEBUG` | `limit`, if there is one |
///
/// Their target is `errgroup`. The events are in the group's span. What a child logs while it is
/// polled is in the child's span, which is not entered when the child is dropped. A child of
/// [`Group::on`](crate::Group::on) is polled by its executor, where its span is not entered:
/// instrument such a child itself.
///
/// # Cost
///
/// If no subscriber is interested in the spans, a child costs what it costs with any observer, and
/// the check of a level.
///
/// # Examples
///
/// ```
/// use errgroup::{Group, TracingObserver, task};
/// use tracing::{info, info_span};
///
/// # futures::executor::block_on(async {
/// let mut group = Group::new().with_observer(TracingObserver::new(info_span!("download")));
/// for url in ["/a", "/b"] {
///     let child = async move {
///         info!("asking"); // in download:child{index=0 name="/a"}
///         Ok::<(), ()>(())
///     };
///     group.queue(task(child).name(url));
/// }
/// assert_eq!(group.await, Ok(()));
/// # });
/// ```
pub struct TracingObserver {
    group: Span,
    /// The spans of the running children, except for disabled ones.
    children: BTreeMap<usize, Span>,
}

/// Makes an event in the span of an observer's group.
macro_rules! tell {
    ($observer:expr, $level:ident, $($fields:tt)*) => {
        event!(
            target: "errgroup",
            parent: $observer.group.id().or_else(current),
            Level::$level,
            $($fields)*
        )
    };
}

impl TracingObserver {
    /// Makes an observer of a group whose span is `group`. That span is never entered.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::{Boxed, Group, TracingObserver};
    ///
    /// let span = tracing::info_span!("mirror", host = "example.org");
    /// let group = Group::<Boxed<'_, (), ()>>::new().with_observer(TracingObserver::new(span));
    /// ```
    pub fn new(group: Span) -> Self {
        Self { group, children: BTreeMap::new() }
    }

    fn start(&mut self, index: usize, name: Option<&str>) {
        let span = info_span!(
            target: "errgroup",
            parent: self.group.id().or_else(current),
            "child",
            index,
            name,
            outcome = field::Empty,
        );
        if !span.is_disabled() {
            self.children.insert(index, span);
        }
    }

    fn finish(&mut self, index: Option<usize>, name: Option<&str>, outcome: Outcome) {
        let Some(index) = index else {
            tell!(self, DEBUG, name, "dropped before it started");
            return;
        };
        if let Some(span) = self.children.remove(&index) {
            span.record("outcome", field::debug(outcome));
        }
    }

    fn stopped(&self, reason: &Reason) {
        match reason {
            Reason::Finished | Reason::Done => tell!(self, DEBUG, %reason, "stopped"),
            _ => tell!(self, INFO, %reason, "stopped"),
        }
    }
}

/// Returns the span that takes the place of a missing or disabled one.
fn current() -> Option<::tracing::Id> {
    Span::current().id()
}

/// Uses the current span as the group's.
impl Default for TracingObserver {
    fn default() -> Self {
        Self::new(Span::current())
    }
}

impl Observer for TracingObserver {
    fn on_event(&mut self, event: &Event) {
        match event {
            Event::Started { index, name } => self.start(*index, name.as_deref()),
            Event::Finished { index, name, outcome } => {
                self.finish(*index, name.as_deref(), *outcome);
            }
            Event::Stopped(reason) => self.stopped(reason),
            Event::Queued { name } => tell!(self, DEBUG, name = name.as_deref(), "queued"),
            Event::Rejected { name, stopped } => {
                tell!(self, DEBUG, name = name.as_deref(), stopped, "rejected");
            }
            Event::LimitChanged { limit } => tell!(self, DEBUG, limit, "limit changed"),
        }
    }

    fn around(&mut self, index: usize, poll: &mut dyn FnMut()) {
        let _entered = self.children.get(&index).map(Span::enter);
        poll();
    }
}

impl fmt::Debug for TracingObserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TracingObserver")
            .field("group", &self.group)
            .field("running", &self.children.len())
            .finish_non_exhaustive()
    }
}
