//! The record of an observer, as lines of JSON.

#[path = "it/common.rs"]
#[allow(dead_code)]
mod common;

use std::cell::{Cell, RefCell};
use std::time::Duration;

use errgroup::{CancelToken, Event, Group, JsonLines, LocalBoxed, Reason, task};
use serde_json::{Value, json};

use crate::common::MockTask;

type Local<'a> = Group<LocalBoxed<'a, (), &'static str>>;

/// The lines of a record, and a clock that advances by a millisecond for each.
#[derive(Default)]
struct Lines {
    lines: RefCell<Vec<String>>,
    time: Cell<Duration>,
}

impl Lines {
    fn record(&self) -> JsonLines<impl FnMut() -> Duration, impl FnMut(&str)> {
        let clock = || self.time.replace(self.time.get() + Duration::from_millis(1));
        JsonLines::new(clock, |line: &str| self.lines.borrow_mut().push(line.into()))
    }

    fn values(&self) -> Vec<Value> {
        let parse = |line: &String| {
            assert!(!line.contains('\n'));
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
        };
        self.lines.take().iter().map(parse).collect()
    }

    /// Returns the lines as they are after their time.
    fn texts(&self) -> Vec<String> {
        let text = |line: String| line.split_once(",\"event\":").unwrap().1.to_string();
        self.lines.take().into_iter().map(text).collect()
    }
}

#[test]
fn each_event_is_a_line_with_its_fields() {
    let (lines, driver) = (Lines::default(), MockTask::new());
    let mut group = Local::local().with_limit(2).with_observer(lines.record().with_limit(2));
    group.queue(task(async { Ok(()) }).name("a").key("x").weight(2));
    group.queue(task(async { Err("no") }).key(7).priority(-1));
    group.queue(task(async { Ok(()) }).name("c").daemon());
    assert!(group.try_go(task(async { Ok(()) }).name("d").key("y")).is_err());
    group.set_limit(None);
    assert!(driver.run(&mut group).is_ready());
    drop(group);
    assert_eq!(
        lines.texts(),
        [
            r#""limit","limit":2}"#,
            r#""started","index":0,"name":"a","key":"x","weight":2,"priority":0,"daemon":false}"#,
            r#""queued","queue_index":0,"key":"7","weight":1,"priority":-1,"daemon":false}"#,
            r#""queued","queue_index":1,"name":"c","weight":1,"priority":0,"daemon":true}"#,
            r#""rejected","name":"d","key":"y","stopped":false}"#,
            r#""limit"}"#,
            r#""started","index":1,"queue_index":1,"name":"c","weight":1,"priority":0,"daemon":true}"#,
            r#""started","index":2,"queue_index":0,"key":"7","weight":1,"priority":-1,"daemon":false}"#,
            r#""finished","index":0,"name":"a","key":"x","outcome":"ok"}"#,
            r#""finished","index":1,"name":"c","outcome":"ok"}"#,
            r#""finished","index":2,"key":"7","outcome":"failed"}"#,
            r#""stopped","reason":"a child failed"}"#,
        ]
    );
}

#[test]
fn a_child_that_is_dropped_from_the_queue_has_the_number_it_was_queued_with() {
    let (lines, parent) = (Lines::default(), CancelToken::new());
    let mut group = Local::local().with_parent(&parent).with_limit(1).with_observer(lines.record());
    group.queue(std::future::pending());
    group.queue(task(async { Ok(()) }).name("same"));
    let (child, aborted) = task(async { Ok(()) }).name("same").joinable();
    group.queue(child);
    aborted.abort();
    assert!(MockTask::new().poll(&mut group).is_pending());
    parent.cancel_with(Reason::Done);
    assert!(MockTask::new().poll(&mut group).is_pending());
    drop(group);
    let ends: Vec<_> = lines.values().into_iter().filter(|it| it["event"] == "finished").collect();
    let queue_indexes: Vec<_> = ends.iter().map(|it| it["queue_index"].clone()).collect();
    assert_eq!(queue_indexes, [json!(1), json!(0), Value::Null], "{ends:?}");
    assert!(ends.iter().all(|it| it["outcome"] == "dropped"));
}

#[test]
fn a_child_that_waited_in_a_go_was_not_queued() {
    let (lines, driver) = (Lines::default(), MockTask::new());
    let mut group = Local::local().with_limit(1).with_observer(lines.record());
    let handle = group.handle();
    group.queue(async { Ok(()) });
    let mut go = Box::pin(handle.go(task(async { Ok(()) }).name("same")));
    assert!(driver.poll(&mut go).is_pending());
    group.queue(task(async { Ok(()) }).name("same"));
    assert!(driver.run(&mut group).is_pending());
    assert!(driver.poll(&mut go).is_ready());
    assert!(driver.run(&mut group).is_ready());
    let starts = lines.values().into_iter().filter(|it| it["event"] == "started");
    let queue_indexes: Vec<_> = starts.map(|it| it["queue_index"].clone()).collect();
    assert_eq!(queue_indexes, [Value::Null, Value::Null, json!(0)]);
}

#[test]
fn strings_are_escaped() {
    let lines = Lines::default();
    let names = ["\"quoted\"", "back\\slash", "line\nbreak\r\t\u{0}\u{1f}\u{7f}", "é 🦀 \u{2028}"];
    let mut group = Local::local().with_observer(lines.record());
    for name in names {
        group.queue(task(async { Ok(()) }).name(name).key(name));
    }
    assert!(MockTask::new().run(&mut group).is_ready());
    for (line, name) in lines.values().iter().zip(names) {
        assert_eq!((&line["name"], &line["key"]), (&json!(name), &json!(name)));
    }
}

#[test]
fn times_are_seconds_with_six_digits() {
    let lines = Lines::default();
    lines.time.set(Duration::new(3, 70_999));
    let mut group = Local::local().with_observer(lines.record());
    group.queue(async { Ok(()) });
    assert!(MockTask::new().run(&mut group).is_ready());
    let starts: Vec<_> = lines.lines.borrow().iter().map(|line| line[..15].to_string()).collect();
    assert_eq!(starts, [r#"{"at":3.000070,"#, r#"{"at":3.001070,"#, r#"{"at":3.002070,"#]);
}

#[test]
fn a_record_is_written_beside_another_observer() {
    let (lines, told) = (Lines::default(), Cell::new(0));
    let count = |_: &Event| told.set(told.get() + 1);
    let mut group = Local::local().with_observer((lines.record(), count));
    group.queue(async { Ok(()) });
    assert!(MockTask::new().run(&mut group).is_ready());
    drop(group);
    assert_eq!((lines.values().len(), told.get()), (3, 3));
}

#[test]
fn a_cause_whose_display_fails_is_told_as_far_as_it_was_written() {
    #[derive(Debug)]
    struct Fails;
    impl std::error::Error for Fails {}
    impl std::fmt::Display for Fails {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("half \"")?;
            Err(std::fmt::Error)
        }
    }
    let (driver, lines) = (MockTask::new(), Lines::default());
    let mut group = Local::local().with_observer(lines.record());
    group.queue(async { Ok(()) });
    group.token().cancel_with(Reason::cause(Fails));
    assert!(driver.run(&mut group).is_ready());
    let reasons: Vec<_> = lines.values().iter().map(|line| line["reason"].clone()).collect();
    assert!(reasons.contains(&json!("half \"")), "{reasons:?}");
}
