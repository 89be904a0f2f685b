//! An observer that records spans and events with `tracing`.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::fmt;

use ::tracing::level_filters::LevelFilter;
use ::tracing::{Level, Span, event, field, info_span};

use super::{Event, Observer, Outcome, PollObserver};
use crate::key::Key;
use crate::reason::Reason;
use crate::util::lock::Mutex;

/// An [`Observer`] that passes the events on to [`tracing`](https://docs.rs/tracing). Each child
/// has a span of its own, a child of the group's span.
///
/// The group's span is the one that is passed to [`new`](Self::new). For `default()` it is the span
/// that is current at the call: in a function with `#[instrument]`, the function's. If that span is
/// disabled, or there is none, the span that is current when the child begins takes its place. It
/// is of the group's task or, perhaps, for a child of [`Group::on`](crate::Group::on), the
/// executor's.
///
/// | what | level | fields |
/// | --- | --- | --- |
/// | the span `child`, from a child's start to its end; entered while it is polled | `INFO` | `index`; `name` and `key`, if it has them; at its end `outcome` |
/// | the event `finished` | `DEBUG`; `INFO` if the child has failed or panicked | `index`, `name`, `key`, `outcome` |
/// | the event `stopped` | `INFO`; `DEBUG` if the reason is `Finished` or `Done` | `reason` |
/// | the event `queued` | `DEBUG` | `name`, `key` |
/// | the event `dropped before it started` | `DEBUG` | `name`, `key`, `outcome` |
/// | the event `rejected` | `DEBUG` | `name`, `key`, `stopped` |
/// | the event `limit changed` | `DEBUG` | `limit`, if there is one |
///
/// Their target is `errgroup`. The events are in the group's span. What a child logs while it is
/// polled is in the child's span, which is not entered when the child is dropped. The span of a
/// child of [`Group::on`](crate::Group::on) is entered on the executor's threads. There it begins
/// with the child's first poll if that comes before the group's.
///
/// An exporter of spans, such as `tracing-opentelemetry`, shows each group as a span with its
/// children below it, and their fields as attributes. `tokio-console` shows tasks: a child of
/// `Group::on(tokio::spawn)` is one, the other children are polled in the task of their group. What
/// a console or a log shows of events, it shows of the groups.
///
/// # Cost
///
/// If the level of all subscribers is below `INFO`, a child costs what it costs with any observer,
/// and the check of that level. If it is not, but none wants the spans, it costs an entry of a
/// table more.
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
    spans: Arc<Spans>,
}

/// The spans of a group and its children, which are entered on any thread.
struct Spans {
    group: Span,
    /// Those of the running children.
    children: Mutex<BTreeMap<usize, Arc<ChildSpan>>>,
}

/// The span of a child: `None` before it is made, and if it is disabled. The lock is held while it
/// is made, so that there is one, though the group and the executor may ask for it at once. The
/// subscriber is told anything else under no lock.
type ChildSpan = Mutex<Option<Arc<Span>>>;

/// Makes an event in the span of an observer's group.
macro_rules! tell {
    ($observer:expr, $level:ident, $($fields:tt)*) => {
        event!(
            target: "errgroup",
            parent: $observer.spans.group.id().or_else(current),
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
        Self { spans: Arc::new(Spans { group, children: Mutex::default() }) }
    }

    fn start(&mut self, index: usize, name: Option<&str>, key: Option<&Key>) {
        let span = self.spans.of_child(index, name);
        if let (Some(span), Some(key)) = (span, key) {
            span.record("key", field::display(key));
        }
    }

    fn finish(
        &mut self,
        index: Option<usize>,
        name: Option<&str>,
        key: Option<&Key>,
        outcome: Outcome,
    ) {
        let key = key.map(field::display);
        let Some(index) = index else {
            tell!(self, DEBUG, name, key, ?outcome, "dropped before it started");
            return;
        };
        let child = self.spans.children.lock().remove(&index);
        let span = child.and_then(|child| child.lock().take());
        if let Some(span) = span {
            span.record("outcome", field::debug(outcome));
        }
        match outcome {
            Outcome::Failed | Outcome::Panicked => {
                tell!(self, INFO, index, name, key, ?outcome, "finished");
            }
            _ => tell!(self, DEBUG, index, name, key, ?outcome, "finished"),
        }
    }

    fn stopped(&self, reason: &Reason) {
        match reason {
            Reason::Finished | Reason::Done => tell!(self, DEBUG, %reason, "stopped"),
            _ => tell!(self, INFO, %reason, "stopped"),
        }
    }
}

impl Spans {
    /// Returns the span of a child, made now if it has none, or `None` if it is disabled.
    fn of_child(&self, index: usize, name: Option<&str>) -> Option<Arc<Span>> {
        if LevelFilter::current() < Level::INFO {
            return None;
        }
        let child = Arc::clone(self.children.lock().entry(index).or_default());
        let mut known = child.lock();
        if known.is_some() {
            return known.clone();
        }
        let span = info_span!(
            target: "errgroup",
            parent: self.group.id().or_else(current),
            "child",
            index,
            name,
            key = field::Empty,
            outcome = field::Empty,
        );
        *known = (!span.is_disabled()).then(|| Arc::new(span));
        known.clone()
    }
}

impl PollObserver for Spans {
    fn around_poll(&self, index: usize, name: Option<&str>, poll: &mut dyn FnMut()) {
        let span = self.of_child(index, name);
        let _entered = span.as_ref().map(|span| span.enter());
        poll();
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
            Event::Started { index, name, key, .. } => {
                self.start(*index, name.as_deref(), key.as_ref());
            }
            Event::Finished { index, name, key, outcome, .. } => {
                self.finish(*index, name.as_deref(), key.as_ref(), *outcome);
            }
            Event::Stopped(reason) => self.stopped(reason),
            Event::Queued { name, key, .. } => {
                let key = key.as_ref().map(field::display);
                tell!(self, DEBUG, name = name.as_deref(), key, "queued");
            }
            Event::Rejected { name, key, stopped } => {
                let key = key.as_ref().map(field::display);
                tell!(self, DEBUG, name = name.as_deref(), key, stopped, "rejected");
            }
            Event::LimitChanged { limit } => tell!(self, DEBUG, limit, "limit changed"),
        }
    }

    fn around(&mut self) -> Option<Arc<dyn PollObserver>> {
        Some(Arc::clone(&self.spans) as _)
    }
}

impl fmt::Debug for TracingObserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The lock is released before the formatter is used.
        let running = self.spans.children.lock().len();
        f.debug_struct("TracingObserver")
            .field("group", &self.spans.group)
            .field("running", &running)
            .finish_non_exhaustive()
    }
}
