//! The example `timeline`, started as a program.

use std::fs;
use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use errgroup::{Group, JsonLines, task};
use tempfile::TempDir;

/// Returns the number of elements, and checks that each is closed in the right order.
fn count_elements(svg: &str) -> usize {
    let (mut open, mut count) = (Vec::new(), 0);
    for part in svg.split('<').skip(1) {
        let (tag, _) = part.split_once('>').expect("a tag has an end");
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name));
        } else if !tag.ends_with('/') {
            open.push(tag.split(' ').next().unwrap());
            count += 1;
        } else {
            count += 1;
        }
    }
    assert!(open.is_empty(), "{open:?}");
    count
}

#[track_caller]
fn assert_has(svg: &str, marks: &[&str]) {
    assert!(svg.starts_with("<svg xmlns"));
    assert!(count_elements(svg) > 10);
    assert!(!svg.contains("NaN") && !svg.contains("inf\""), "no invalid number");
    for mark in marks {
        assert!(svg.contains(mark), "{mark} is missing in:\n{svg}");
    }
}

#[track_caller]
fn assert_tells_the_story(svg: &str) {
    assert!(count_elements(svg) > 60);
    let marks = [
        "class=\"limit\"",
        "limit 4<",
        "limit 6<",
        "class=\"mark stop\"",
        "stop: a child failed<",
        "grace over<",
        "class=\"waits\"",
        "class=\"waits urgent\"",
        "class=\"cross off\"",
        "class=\"cross on\"",
        "task.rs fails<",
        "stats.rs ×2",
        ", has waited ",
        "a daemon<",
        "prefers-color-scheme: dark",
    ];
    assert_has(svg, &marks);
}

/// Draws a record that is passed to stdin.
fn draw(record: impl AsRef<[u8]>) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_timeline"))
        .args(["--from", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may have ended before it has read all.
    let _ = child.stdin.take().unwrap().write_all(record.as_ref());
    child.wait_with_output().unwrap()
}

#[track_caller]
fn drawn(record: impl AsRef<[u8]>) -> String {
    let output = draw(record);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn assert_refused(record: impl AsRef<[u8]>, complaint: &str) {
    let output = draw(record);
    assert_eq!(String::from_utf8_lossy(&output.stderr), format!("timeline: {complaint}\n"));
    assert_eq!((output.stdout.len(), output.status.code()), (0, Some(1)));
}

// === its own work ===

#[test]
fn the_picture_of_its_own_work_has_all_marks_and_its_record_draws_the_same() {
    let dir = TempDir::new().unwrap();
    let (record, out) = (dir.path().join("run.jsonl"), dir.path().join("run.svg"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_timeline"));
    let output = command.arg("--record").arg(&record).arg(&out).output().unwrap();
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    let svg = fs::read_to_string(out).unwrap();
    assert_tells_the_story(&svg);
    assert_eq!(drawn(fs::read(&record).unwrap()), svg);
    let from_file =
        Command::new(env!("CARGO_BIN_EXE_timeline")).arg("--from").arg(record).output().unwrap();
    assert_eq!(String::from_utf8(from_file.stdout).unwrap(), svg);
}

#[test]
fn the_picture_in_the_docs_tells_the_same_story() {
    assert_tells_the_story(include_str!("../../../docs/timeline.svg"));
}

// === a record ===

#[test]
fn the_record_of_an_observer_is_drawn() {
    let mut lines = String::new();
    let start = Instant::now();
    let observer = JsonLines::new(
        || start.elapsed(),
        |line: &str| {
            lines.push_str(line);
            lines.push('\n');
        },
    );
    let mut group = Group::new().with_limit(3).with_observer(observer.with_limit(3));
    group.queue(task(async { Ok::<(), &str>(()) }).name("\"<a>\" & \n").key("x.example"));
    group.queue(task(async { Ok(()) }).name("heavy").weight(2).key("y.example"));
    group.queue(task(async { Ok(()) }).name("waits").key("x.example"));
    assert_eq!(futures::executor::block_on(group), Ok(()));
    let svg = drawn(lines);
    let marks = [
        // The text is escaped, and what XML can't say is replaced.
        "<title>&quot;&lt;a&gt;&quot; &amp; \u{fffd}, key x.example: finishes, from ",
        "<title>heavy, key y.example, weight 2: finishes, from ",
        "<title>waits, key x.example: waits, from ",
        "<title>waits, key x.example: finishes, has waited ",
        "class=\"key k0\"",
        "class=\"key k1\"",
        ">x.example<",
        "limit 3<",
    ];
    assert_has(&svg, &marks);
    assert!(!svg.contains("class=\"mark stop\""), "it has run to its end");
}

/// Weights, keys and waits at known times: a second is 420 units wide.
const RECORD: &str = r#"
{"at":5,"event":"limit","limit":3}
{"at":5,"event":"started","index":0,"name":"a","key":"x","weight":1}
{"at":5,"event":"started","index":1,"name":"b","key":"y","weight":2}
{"at":5,"event":"queued","queue_index":0,"key":"x","weight":1}

{"at":5.5,"event":"rejected","name":"c","stopped":false}
{"at":5.5,"event":"from a later version","index":"?"}
{"at":6,"event":"finished","index":0,"outcome":"ok"}
{"at":6,"event":"started","index":2,"queue_index":0,"key":"x","weight":1,"more":[]}
{"at":6,"event":"started","index":3,"name":"free","weight":0}
{"at":6.5,"event":"note","text":"half & half"}
{"at":6.5,"event":"finished","index":1,"outcome":"panicked"}
{"at":6.5,"event":"queued","queue_index":7,"name":"d"}
{"at":6.5,"event":"stopped","reason":"a child panicked"}
{"at":7,"event":"finished","queue_index":7,"name":"d","outcome":"dropped"}
{"at":7,"event":"finished","index":3,"outcome":"dropped"}
"#;

#[test]
fn weights_keys_and_waits_are_where_they_should_be() {
    let svg = drawn(RECORD);
    let marks = [
        "<title>a, key x: finishes, from 0 to 1 s</title>",
        "<title>b, key y, weight 2: panics, from 0 to 1.5 s</title>",
        "<title>key x: waits, from 0 to 1 s</title>",
        "<title>#2, key x: the record ends before it, has waited 1 s, from 1 s to 2 s</title>",
        "<title>free, weight 0: is dropped, from 1 s to 2 s</title>",
        "<title>d: waits, from 1.5 s to 2 s</title>",
        "class=\"cross off\"",
        ">half &amp; half<",
        ">stop: a child panicked<",
        ">1 rejected · ×2: weighs two",
    ];
    assert_has(&svg, &marks);
    // The heights are as the weights; the two that run at a time are one above the other.
    let rect = |title: &str| -> [f64; 3] {
        let line = svg.lines().find(|line| line.contains(&format!("<title>{title}"))).unwrap();
        ["y", "height", "width"].map(|name| {
            let (_, rest) = line.split_once(&format!(" {name}=\"")).unwrap();
            rest.split_once('"').unwrap().0.parse().unwrap()
        })
    };
    let ([a, a_height, a_width], [b, b_height, b_width]) = (rect("a,"), rect("b,"));
    assert_eq!((a_height, b_height), (31.0, 65.0));
    assert!((a - b).abs() >= 34.0, "{a} {b}");
    let ratio = b_width / a_width;
    assert!((1.49..1.52).contains(&ratio), "{ratio}");
    // What takes no room is below them.
    assert!(rect("free,")[0] > a.max(b) + 31.0);
}

#[test]
fn many_children_with_large_weights_are_drawn_in_one_picture() {
    let mut record = String::new();
    let mut line = |at: usize, rest: &str| {
        record.push_str(&format!("{{\"at\":{at},\"event\":{rest}}}\n"));
    };
    let weight = 1_u64 << 40;
    line(0, &format!("\"limit\",\"limit\":{}", 3 * weight));
    for n in 0..2000 {
        let key = n % 30;
        line(0, &format!("\"queued\",\"queue_index\":{n},\"key\":\"{key}\",\"weight\":{weight}"));
    }
    for n in 0..2000 {
        let start = format!("\"index\":{n},\"queue_index\":{n},\"weight\":{weight}");
        line(n + 1, &format!("\"started\",{start}"));
        if n >= 2 {
            line(n + 1, &format!("\"finished\",\"index\":{},\"outcome\":\"ok\"", n - 2));
        }
    }
    let svg = drawn(record);
    assert_has(&svg, &["2000 wait<", "22 keys more<", " min</text>"]);
    assert!(svg.len() < 2_000_000, "{}", svg.len());
    let (_, height) = svg.split_once("viewBox=\"0 0 960 ").unwrap();
    let height: f64 = height.split_once('"').unwrap().0.parse().unwrap();
    assert!(height < 1200.0, "{height}");
}

#[test]
fn a_record_of_one_event_is_drawn() {
    assert_has(&drawn("{\"at\":1,\"event\":\"limit\"}\n"), &["</svg>"]);
    assert_has(&drawn("{\"at\":0,\"event\":\"started\",\"index\":0}\n"), &["#0"]);
}

// === bad input ===

#[test]
fn a_bad_line_is_named() {
    let second = |line: &str| format!("{{\"at\":1,\"event\":\"limit\",\"limit\":3}}\n{line}\n");
    for (line, complaint) in [
        ("no JSON", "it is not JSON: expected ident at column 2"),
        ("{\"at\":2", "it is not JSON: EOF while parsing an object at column 7"),
        ("[1]", "it is not an object"),
        ("{}", "it has no `at`"),
        ("{\"at\":\"2\",\"event\":\"limit\"}", "`at` is \"2\", and not a number of seconds"),
        ("{\"at\":0.5,\"event\":\"limit\"}", "`at` is 0.5, and was 1 before"),
        ("{\"at\":2}", "it has no `event`"),
        ("{\"at\":2,\"event\":\"queued\"}", "it has no `queue_index`"),
        ("{\"at\":2,\"event\":\"started\"}", "it has no `index`"),
        (
            "{\"at\":2,\"event\":\"started\",\"index\":-1}",
            "`index` is -1, and not a number from 0 on",
        ),
        (
            "{\"at\":2,\"event\":\"started\",\"index\":0,\"queue_index\":4}",
            "the child of `queue_index` 4 is not queued",
        ),
        (
            "{\"at\":2,\"event\":\"started\",\"index\":0,\"name\":7}",
            "`name` is 7, and not a string",
        ),
        ("{\"at\":2,\"event\":\"finished\",\"index\":0}", "it has no `outcome`"),
        (
            "{\"at\":2,\"event\":\"finished\",\"index\":0,\"outcome\":\"good\"}",
            "`outcome` is \"good\", and not one of ok, failed, panicked and dropped",
        ),
        (
            "{\"at\":2,\"event\":\"finished\",\"index\":0,\"outcome\":\"ok\"}",
            "the child of `index` 0 does not run",
        ),
        ("{\"at\":2,\"event\":\"stopped\"}", "it has no `reason`"),
    ] {
        assert_refused(second(line), &format!("stdin: line 2: {complaint}"));
    }
    let twice = "{\"at\":1,\"event\":\"started\",\"index\":0}\n";
    assert_refused(twice.repeat(2), "stdin: line 2: the child of `index` 0 starts again");
    let twice = "{\"at\":1,\"event\":\"queued\",\"queue_index\":0}\n";
    let again = "the child of `queue_index` 0 is queued again";
    assert_refused(twice.repeat(2), &format!("stdin: line 2: {again}"));
    assert_refused(b"\n\n\xff\n", "stdin: line 3: it is not UTF-8");
    assert_refused("\n \n", "stdin: the record is empty");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_timeline")).args(["--from", "no/file"]).output().unwrap();
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(complaint.starts_with("timeline: no/file: "), "{complaint}");
    assert_eq!((output.stdout.len(), output.status.code()), (0, Some(1)));
}
