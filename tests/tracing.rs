//! The spans and events that a subscriber of `tracing` sees of a group.

#[path = "it/common.rs"]
#[allow(dead_code)]
mod common;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::{Gate, Job, MockTask, fails, job, panic_message, waits};
use errgroup::{Boxed, Event, Group, Spawned, TracingObserver, task};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{
    Dispatch, Level, Metadata, Span, Subscriber, dispatcher, info, info_span, subscriber,
};
use tracing_core::span::Current;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

type Group0<'a> = Group<Boxed<'a, usize, &'static str>>;

/// A subscriber that logs the events, each with the path of its spans.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Records>>);

#[derive(Default)]
struct Records {
    lines: Vec<String>,
    spans: BTreeMap<u64, Entry>,
    entered: Vec<u64>,
    /// The least important level that is recorded.
    level: Option<Level>,
}

struct Entry {
    text: String,
    parent: Option<u64>,
    metadata: &'static Metadata<'static>,
    handles: usize,
}

/// Fields as text: the message alone, the others by their names.
#[derive(Default)]
struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.0.insert_str(0, &format!(" {value:?}")),
            name => self.0.push_str(&format!(" {name}={value:?}")),
        }
    }
}

impl Records {
    fn path(&self, id: Option<u64>) -> String {
        let Some(entry) = id.and_then(|id| self.spans.get(&id)) else {
            return String::new();
        };
        format!("{}/{}", self.path(entry.parent), entry.text)
    }

    fn parent(&self, explicit: Option<&Id>, contextual: bool) -> Option<u64> {
        explicit.map(Id::into_u64).or_else(|| self.entered.last().copied().filter(|_| contextual))
    }
}

impl Recorder {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().lines)
    }

    fn watch<R>(&self, f: impl FnOnce() -> R) -> R {
        subscriber::with_default(self.clone(), f)
    }
}

impl Subscriber for Recorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.0.lock().unwrap().level.is_none_or(|level| *metadata.level() <= level)
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let mut records = self.0.lock().unwrap();
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let id = records.spans.keys().next_back().map_or(1, |last| last + 1);
        let entry = Entry {
            text: format!("{}{}", attributes.metadata().name(), fields.0.replace(' ', ",")),
            parent: records.parent(attributes.parent(), attributes.is_contextual()),
            metadata: attributes.metadata(),
            handles: 1,
        };
        records.spans.insert(id, entry);
        let line = format!("{} new at {}", records.path(Some(id)), attributes.metadata().level());
        records.lines.push(line);
        Id::from_u64(id)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        let mut records = self.0.lock().unwrap();
        let mut fields = Fields::default();
        values.record(&mut fields);
        let line = format!("{} has{}", records.path(Some(span.into_u64())), fields.0);
        records.lines.push(line);
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut records = self.0.lock().unwrap();
        let mut fields = Fields::default();
        event.record(&mut fields);
        let parent = records.parent(event.parent(), event.is_contextual());
        let line = format!("{}: {}{}", records.path(parent), event.metadata().level(), fields.0);
        records.lines.push(line);
    }

    fn enter(&self, span: &Id) {
        let mut records = self.0.lock().unwrap();
        records.entered.push(span.into_u64());
    }

    fn exit(&self, span: &Id) {
        let mut records = self.0.lock().unwrap();
        assert_eq!(records.entered.pop(), Some(span.into_u64()));
    }

    fn clone_span(&self, id: &Id) -> Id {
        self.0.lock().unwrap().spans.get_mut(&id.into_u64()).unwrap().handles += 1;
        id.clone()
    }

    fn try_close(&self, id: Id) -> bool {
        let mut records = self.0.lock().unwrap();
        let entry = records.spans.get_mut(&id.into_u64()).unwrap();
        entry.handles -= 1;
        let closes = entry.handles == 0;
        if closes {
            let line = format!("{} closed", records.path(Some(id.into_u64())));
            records.lines.push(line);
        }
        closes
    }

    fn current_span(&self) -> Current {
        let records = self.0.lock().unwrap();
        match records.entered.last() {
            Some(id) => Current::new(Id::from_u64(*id), records.spans[id].metadata),
            None => Current::none(),
        }
    }
}

/// Makes a child that emits an event in each of its polls: at once, and behind its door.
fn speaks(gate: &Gate, number: usize) -> Job {
    let wait = gate.wait(number);
    job(async move {
        info!("begins");
        wait.await;
        info!("ends");
        Ok(number)
    })
}

#[test]
fn each_child_has_a_span_below_the_groups_from_its_start_to_its_end() {
    let (recorder, driver, gate) = (Recorder::default(), MockTask::new(), Gate::new());
    recorder.watch(|| {
        let observer = TracingObserver::new(info_span!("download", host = 7));
        let mut group = Group0::new().with_limit(1).with_observer(observer);
        group.queue(task(speaks(&gate, 0)).name("a"));
        group.queue(task(fails(&gate, 1, "no")).name("b"));
        assert!(driver.run(&mut group).is_pending());
        assert_eq!(
            recorder.take(),
            [
                "/download,host=7 new at INFO",
                "/download,host=7/child,index=0,name=\"a\" new at INFO",
                "/download,host=7: DEBUG queued name=\"b\"",
                "/download,host=7/child,index=0,name=\"a\": INFO begins",
            ]
        );
        assert!(group.try_go(task(speaks(&gate, 2)).name("c")).is_err());
        group.set_limit(None);
        gate.open(0);
        gate.open(1);
        assert!(driver.run(&mut group).is_ready());
        assert_eq!(
            recorder.take(),
            [
                "/download,host=7: DEBUG rejected name=\"c\" stopped=false",
                "/download,host=7: DEBUG limit changed",
                "/download,host=7/child,index=1,name=\"b\" new at INFO",
                "/download,host=7/child,index=0,name=\"a\": INFO ends",
                "/download,host=7/child,index=0,name=\"a\" has outcome=Ok",
                "/download,host=7/child,index=0,name=\"a\" closed",
                "/download,host=7: DEBUG finished index=0 name=\"a\" outcome=Ok",
                "/download,host=7/child,index=1,name=\"b\" has outcome=Failed",
                "/download,host=7/child,index=1,name=\"b\" closed",
                "/download,host=7: INFO finished index=1 name=\"b\" outcome=Failed",
                "/download,host=7: INFO stopped reason=a child failed",
                "/download,host=7 closed",
            ]
        );
    });
    assert!(recorder.0.lock().unwrap().entered.is_empty());
}

#[test]
fn the_default_span_is_the_current_one_when_the_observer_is_made() {
    let (recorder, driver, gate) = (Recorder::default(), MockTask::new(), Gate::new());
    recorder.watch(|| {
        let mut group = info_span!("request")
            .in_scope(|| Group0::new().with_limit(1).with_observer(TracingObserver::default()));
        group.queue(speaks(&gate, 0));
        group.queue(task(speaks(&gate, 1)).name("b"));
        recorder.take();
        // The group is polled within another span or none.
        let _elsewhere = info_span!("elsewhere").entered();
        recorder.take();
        assert!(driver.run(&mut group).is_pending());
        drop(group);
        assert_eq!(
            recorder.take(),
            [
                "/request/child,index=0 new at INFO",
                "/request: DEBUG queued name=\"b\"",
                "/request/child,index=0: INFO begins",
                "/request: INFO stopped reason=the owner was dropped",
                "/request/child,index=0 has outcome=Dropped",
                "/request/child,index=0 closed",
                "/request: DEBUG finished index=0 outcome=Dropped",
                "/request: DEBUG dropped before it started name=\"b\" outcome=Dropped",
                "/request closed",
            ]
        );
    });
}

#[test]
fn without_a_group_span_the_current_one_is_the_parent() {
    let (recorder, driver, gate) = (Recorder::default(), MockTask::new(), Gate::new());
    recorder.watch(|| {
        let mut group = Group0::new().with_observer(TracingObserver::new(Span::none()));
        gate.open(0);
        group.queue(speaks(&gate, 0));
        let outer = info_span!("outer").entered();
        assert!(driver.run(&mut group).is_ready());
        drop(outer);
        let events = recorder.take();
        assert_eq!(events[1], "/outer/child,index=0 new at INFO");
        assert_eq!(events[7], "/outer: DEBUG stopped reason=the work has finished");

        let mut group = Group0::new().with_observer(TracingObserver::default());
        group.queue(speaks(&gate, 0));
        assert!(driver.run(&mut group).is_ready());
        assert_eq!(recorder.take()[0], "/child,index=0 new at INFO");
    });
}

#[test]
fn a_child_that_panics_leaves_its_span() {
    let (recorder, driver) = (Recorder::default(), MockTask::new());
    recorder.watch(|| {
        let mut group = Group0::new().with_observer(TracingObserver::new(info_span!("group")));
        group.queue(job(async { std::panic::panic_any("child") }));
        assert_eq!(panic_message(|| driver.run(&mut group)), "child");
        assert_eq!(
            recorder.take()[2..],
            [
                "/group/child,index=0 has outcome=Panicked",
                "/group/child,index=0 closed",
                "/group: INFO finished index=0 outcome=Panicked",
                "/group: INFO stopped reason=a child panicked",
                "/group closed",
            ]
        );
    });
    assert!(recorder.0.lock().unwrap().entered.is_empty());
}

#[test]
fn a_child_of_a_nested_group_has_its_span_below_the_outer_child() {
    let (recorder, driver, gate) = (Recorder::default(), MockTask::new(), Gate::new());
    recorder.watch(|| {
        let mut outer = Group0::new().with_observer(TracingObserver::new(info_span!("outer")));
        gate.open(0);
        let inner = speaks(&gate, 0);
        outer.queue(job(async move {
            let mut group = Group0::new().with_observer(TracingObserver::default());
            group.queue(inner);
            group.await.map(|()| 1)
        }));
        assert!(driver.run(&mut outer).is_ready());
        let events = recorder.take();
        assert!(
            events.contains(&"/outer/child,index=0/child,index=0: INFO begins".into()),
            "{events:?}"
        );
    });
}

#[test]
fn spans_that_no_subscriber_wants_are_not_made() {
    let (recorder, driver, gate) = (Recorder::default(), MockTask::new(), Gate::new());
    recorder.0.lock().unwrap().level = Some(Level::WARN);
    recorder.watch(|| {
        let mut group = Group0::new().with_observer(TracingObserver::default());
        group.queue(speaks(&gate, 0));
        gate.open(0);
        assert!(driver.run(&mut group).is_ready());
        assert!(recorder.take().is_empty());
    });
}

#[test]
fn a_group_does_the_same_with_or_without_a_subscriber() {
    let (driver, gate) = (MockTask::new(), Gate::new());
    let mut group = Group0::new().with_limit(1).with_observer(TracingObserver::default()).collect();
    (0..3).for_each(|n| group.queue(waits(&gate, n)));
    (0..3).for_each(|n| gate.open(n));
    assert_eq!(driver.finish(group), Ok(vec![0, 1, 2]));
}

#[test]
fn the_observer_is_send_and_has_a_debug_form() {
    fn send<T: Send + Sync + 'static>() {}
    send::<TracingObserver>();
    let observer = TracingObserver::default();
    assert!(format!("{observer:?}").starts_with("TracingObserver"));
}

#[test]
fn the_observer_works_beside_another_observer() {
    let (recorder, driver, gate) = (Recorder::default(), MockTask::new(), Gate::new());
    recorder.watch(|| {
        let mut other_events = Vec::new();
        let other = |event: &Event| other_events.push(event.to_string());
        let mut group = Group0::new().with_observer((other, TracingObserver::new(Span::none())));
        gate.open(0);
        group.queue(speaks(&gate, 0));
        assert!(driver.run(&mut group).is_ready());
        drop(group);
        assert_eq!(other_events.len(), 3);
        assert_eq!(recorder.take()[1], "/child,index=0: INFO begins");
    });
}

#[test]
fn the_span_of_a_spawned_child_is_entered_on_the_thread_that_polls_it() {
    type Works = Arc<Mutex<Vec<futures::future::BoxFuture<'static, ()>>>>;
    let (recorder, driver, gate) = (Recorder::default(), MockTask::new(), Gate::new());
    let (works, here) = (Works::default(), std::thread::current().id());
    let spawn = Arc::clone(&works);
    let poll_elsewhere = || {
        let (recorder, works) = (recorder.clone(), Arc::clone(&works));
        let poll = move || {
            let mut all = std::mem::take(&mut *works.lock().unwrap());
            all.retain_mut(|work| MockTask::new().poll(work).is_pending());
            works.lock().unwrap().extend(all);
        };
        std::thread::spawn(move || recorder.watch(poll)).join().unwrap();
    };
    recorder.watch(|| {
        let observer = TracingObserver::new(info_span!("group"));
        let mut group =
            Group::on(move |work| spawn.lock().unwrap().push(work)).with_observer(observer);
        let child = |n: usize| {
            let wait = gate.wait(n);
            let child = async move {
                info!("begins");
                assert_ne!(std::thread::current().id(), here);
                wait.await;
                info!("ends");
                Ok::<_, &'static str>(n)
            };
            task(child).name(format!("child {n}"))
        };
        group.queue(child(0));
        // Its first poll comes before the group's, which tells the observer that it has started.
        poll_elsewhere();
        group.handle().queue(child(1));
        assert!(driver.run(&mut group).is_pending());
        poll_elsewhere();
        (0..2).for_each(|n| gate.open(n));
        poll_elsewhere();
        assert_eq!(driver.run(&mut group), std::task::Poll::Ready(Ok(())));
    });
    let lines = recorder.take();
    let of = |index: usize| format!("/group/child,index={index},name=\"child,{index}\"");
    for index in 0..2 {
        let seen: Vec<_> = lines.iter().filter(|line| line.starts_with(&of(index))).collect();
        let path = of(index);
        assert_eq!(
            seen,
            [
                &format!("{path} new at INFO"),
                &format!("{path}: INFO begins"),
                &format!("{path}: INFO ends"),
                &format!("{path} has outcome=Ok"),
                &format!("{path} closed"),
            ],
            "{lines:?}"
        );
    }
}

/// Counts the spans of children. The first takes long to make.
struct SlowFirst {
    made: Arc<AtomicUsize>,
    begins: Mutex<Option<Sender<()>>>,
    goes_on: Mutex<Receiver<()>>,
}

impl<S: Subscriber> Layer<S> for SlowFirst {
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        if attributes.metadata().name() == "child" {
            self.made.fetch_add(1, SeqCst);
            if let Some(begins) = self.begins.lock().unwrap().take() {
                begins.send(()).unwrap();
                // Not for ever: the other thread may be waiting for this span.
                let _ = self.goes_on.lock().unwrap().recv_timeout(Duration::from_millis(100));
            }
        }
    }
}

#[test]
fn a_child_that_begins_on_its_executor_while_the_group_is_polled_has_one_span() {
    let (made, (begins, has_begun), (go_on, goes_on)) =
        (Arc::new(AtomicUsize::new(0)), channel(), channel());
    let slow = SlowFirst {
        made: Arc::clone(&made),
        begins: Mutex::new(Some(begins)),
        goes_on: Mutex::new(goes_on),
    };
    let dispatch = Dispatch::new(tracing_subscriber::registry().with(slow));
    let works = Arc::new(Mutex::new(Vec::new()));
    let spawn = Arc::clone(&works);
    let mut group = dispatcher::with_default(&dispatch, || {
        let group: Group<Spawned<(), ()>> = Group::on(move |work| spawn.lock().unwrap().push(work));
        group.with_observer(TracingObserver::new(info_span!("group")))
    });
    group.queue(async { Ok(()) });
    let mut work = works.lock().unwrap().pop().expect("the child has room");
    let of_executor = dispatch.clone();
    let executor = std::thread::spawn(move || {
        dispatcher::with_default(&of_executor, || MockTask::new().poll(&mut work).is_ready())
    });
    has_begun.recv().unwrap();
    let task = MockTask::new();
    let _ = dispatcher::with_default(&dispatch, || task.poll(&mut group));
    let _ = go_on.send(());
    assert!(executor.join().unwrap());
    let _ = dispatcher::with_default(&dispatch, || task.run(&mut group));
    assert_eq!(made.load(SeqCst), 1);
}

#[test]
fn a_key_is_a_field_of_the_childs_span_and_of_its_events() {
    let (recorder, driver, gate) = (Recorder::default(), MockTask::new(), Gate::new());
    recorder.watch(|| {
        let observer = TracingObserver::new(info_span!("group"));
        let mut group = Group0::new().with_key_limit(1).with_observer(observer);
        group.queue(task(waits(&gate, 0)).name("a").key("x.example"));
        group.queue(task(waits(&gate, 1)).key("x.example"));
        assert!(driver.run(&mut group).is_pending());
        assert!(group.try_go(task(waits(&gate, 2)).key("x.example")).is_err());
        gate.open(0);
        assert!(driver.run(&mut group).is_pending());
        drop(group);
        let child = "/group/child,index=0,name=\"a\"";
        assert_eq!(
            recorder.take(),
            [
                "/group new at INFO".into(),
                format!("{child} new at INFO"),
                format!("{child} has key=x.example"),
                "/group: DEBUG queued key=x.example".into(),
                "/group: DEBUG rejected key=x.example stopped=false".into(),
                format!("{child} has outcome=Ok"),
                format!("{child} closed"),
                "/group: DEBUG finished index=0 name=\"a\" key=x.example outcome=Ok".into(),
                "/group/child,index=1 new at INFO".into(),
                "/group/child,index=1 has key=x.example".into(),
                "/group: INFO stopped reason=the owner was dropped".into(),
                "/group/child,index=1 has outcome=Dropped".into(),
                "/group/child,index=1 closed".into(),
                "/group: DEBUG finished index=1 key=x.example outcome=Dropped".into(),
                "/group closed".into(),
            ]
        );
    });
}

/// What a subscriber has written, as lines.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_subscriber_that_writes_json_shows_index_name_key_and_outcome() {
    let (written, driver, gate) = (Written::default(), MockTask::new(), Gate::new());
    let writer = written.clone();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .with_max_level(Level::DEBUG)
        .with_span_events(tracing_subscriber::fmt::format::FmtSpan::CLOSE)
        .with_writer(move || writer.clone())
        .finish();
    subscriber::with_default(subscriber, || {
        let observer = TracingObserver::new(info_span!("crawl", host = 7));
        let mut group = Group0::new().with_limit(1).with_observer(observer);
        group.queue(task(speaks(&gate, 0)).name("front page").key("x.example"));
        group.queue(task(fails(&gate, 1, "no")).name("b"));
        (0..2).for_each(|n| gate.open(n));
        assert!(driver.run(&mut group).is_ready());
    });
    let text = String::from_utf8(std::mem::take(&mut *written.0.lock().unwrap())).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |message: &str| -> Vec<&serde_json::Value> {
        lines.iter().filter(|line| line["fields"]["message"] == message).collect()
    };

    // What a child logs is in its span, whose fields say which child it is.
    let child = &of("begins")[0]["span"];
    assert_eq!((&child["name"], &child["index"]), (&"child".into(), &0.into()), "{text}");
    assert_eq!(
        (&child["key"], &of("begins")[0]["spans"][0]["host"]),
        (&"x.example".into(), &7.into())
    );
    // The span ends with its outcome.
    let closed: Vec<_> =
        of("close").into_iter().filter(|it| it["span"]["name"] == "child").collect();
    assert_eq!(closed[0]["span"]["outcome"], "Ok", "{text}");
    assert_eq!(closed[1]["span"]["outcome"], "Failed");
    // So do the events.
    let [first, second] = of("finished")[..] else { panic!("{text}") };
    let fields = |line: &serde_json::Value| {
        let mut fields = line["fields"].clone();
        fields.as_object_mut().unwrap().remove("message");
        (line["level"].clone(), line["target"].clone(), fields)
    };
    let a = serde_json::json!({
        "index": 0, "name": "front page", "key": "x.example", "outcome": "Ok"
    });
    assert_eq!(fields(first), ("DEBUG".into(), "errgroup".into(), a));
    let b = serde_json::json!({ "index": 1, "name": "b", "outcome": "Failed" });
    assert_eq!(fields(second), ("INFO".into(), "errgroup".into(), b));
}

#[test]
fn debug_prints_the_name_of_the_observer() {
    assert!(format!("{:?}", TracingObserver::default()).starts_with("TracingObserver"));
}
