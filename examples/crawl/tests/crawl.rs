//! Runs the program over its own site, and over sites that these tests serve.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

// === the program's own site ===

#[test]
fn own_site_with_limit_1() {
    assert_eq!(crawl_own_site(1), 1);
}

#[test]
fn own_site_with_limit_3_has_three_requests_at_once() {
    assert_eq!(crawl_own_site(3), 3);
}

#[test]
fn own_site_with_limit_64() {
    let most = crawl_own_site(64);
    assert!((4..=64).contains(&most), "{most}");
}

#[test]
fn own_site_with_a_limit_per_host_has_no_more_requests_at_once() {
    assert_eq!(crawl_own_site_with(64, &["--per-host", "2"]), 2);
}

/// Crawls the program's own site and checks the pages and dead links. Returns the most requests
/// that the site saw at once.
fn crawl_own_site(limit: usize) -> usize {
    crawl_own_site_with(limit, &[])
}

fn crawl_own_site_with(limit: usize, args: &[&str]) -> usize {
    let limit_arg = limit.to_string();
    let output = crawl(&[&["--limit", &limit_arg], args].concat());
    let crawl = Crawl::read(&output);

    let mut pages = BTreeSet::from(
        [
            "/",
            "/home -> /#top",
            "/loop/a -> /loop/b",
            "/loop/b -> a",
            "/away -> http://elsewhere.invalid/trap",
            "/moved -> /gone",
            "/search?q=a",
            "/search?q=b",
            "/based",
            "/traps",
            "/logo.svg",
        ]
        .map(str::to_owned),
    );
    pages.extend((1..=12).map(|n| format!("/slow/{n}")));
    pages.extend((1..=40).map(|n| format!("/blog/{n}")));
    pages.extend((1..=15).map(|n| format!("/docs/{n}")));
    crawl.assert_pages(pages.iter().map(String::as_str));

    assert_eq!(
        crawl.dead,
        [
            r#""http://[::1": invalid IPv6 address; linked from /"#,
            "/blog/draft: 404 Not Found; linked from /blog/10, /blog/20, /blog/30, /blog/40",
            "/broken: 500 Internal Server Error; linked from /",
            "/docs/missing: 404 Not Found; linked from /based",
            "/gone: 410 Gone; linked from /moved",
            "/hang-up: client error (SendRequest): connection closed before message completed; \
             linked from /",
            "/missing: 404 Not Found; linked from /, /search?q=b",
        ]
    );

    // The pages and the dead links, except the link that is no URL.
    let asked = pages.len() + crawl.dead.len() - 1;
    assert_eq!(
        crawl.last[1],
        format!("the site was asked {asked} times for {asked} different pages")
    );
    let start =
        format!("{} pages, {} dead links, most requests at once: ", pages.len(), crawl.dead.len());
    let most = crawl.last[0].strip_prefix(&start);
    let most = most.and_then(|rest| rest.strip_suffix(&format!(" (limit {limit})")));
    most.expect(&crawl.last[0]).parse().unwrap()
}

// === a site that the test serves ===

#[test]
fn stays_on_its_site_and_asks_for_each_page_once() {
    let elsewhere = Site::serve([]);
    let (_port, refused) = refused_url();
    let links = format!(
        "<a href=a><A HREF='./a#x'><area href=/b/../a><a href=''><a href={}trap><a href={refused}>\
         <a href=//127.0.0.1/trap>",
        elsewhere.url
    );
    let site = Site::serve([
        ("/", html("<a href=/start/>")),
        ("/start/", html(&links)),
        ("/start/a", html("<a href=/start/?><a href=/dead><a href=/out>")),
        ("/start/?", html("<a href=/start/a?&amp;b>")),
        ("/start/a?&b", text("<a href=/trap>")),
        ("/a", html("<a href=/start/a>")),
        ("/out", redirect(&elsewhere.url)),
    ]);

    let output = crawl(&["--url", &format!("{}start/#top", site.url)]);
    let crawl = Crawl::read(&output);

    let out = format!("/out -> {}", elsewhere.url);
    crawl.assert_pages(["/start/", "/start/a", "/start/?", "/start/a?&b", "/a", &out]);
    assert_eq!(crawl.dead, ["/dead: 404 Not Found; linked from /start/a"]);
    assert_eq!(crawl.last, ["6 pages, 1 dead links (limit 8)"]);
    site.assert_asked_once_each([
        "/a",
        "/dead",
        "/out",
        "/start/",
        "/start/?",
        "/start/a",
        "/start/a?&b",
    ]);
    elsewhere.assert_asked_once_each([]);
}

#[test]
fn as_many_requests_as_the_limit_are_in_flight() {
    // Each of the three is answered when all three have been requested.
    let three = Arc::new(Barrier::new(3));
    let site = Site::serve([
        ("/", html("<a href=1><a href=2><a href=3>")),
        ("/1", Answer::Together(Arc::clone(&three))),
        ("/2", Answer::Together(Arc::clone(&three))),
        ("/3", Answer::Together(three)),
    ]);
    let output = crawl(&["--url", &site.url, "--limit", "3"]);
    let crawl = Crawl::read(&output);
    crawl.assert_pages(["/", "/1", "/2", "/3"]);
    assert_eq!(crawl.last, ["4 pages, 0 dead links (limit 3)"]);
}

#[test]
fn a_host_at_its_limit_delays_no_other() {
    // Each answers when the other has been requested as well.
    let both = Arc::new(Barrier::new(2));
    let together = || ("/1", Answer::Together(Arc::clone(&both)));
    let pages = || ("/", html("<a href=1><a href=2><a href=3>"));
    let sites =
        [(); 2].map(|()| Site::serve([pages(), together(), ("/2", html("")), ("/3", html(""))]));
    let [a, b] = &sites;
    let args = ["--url", &a.url, "--url", &b.url, "--limit", "2", "--per-host", "1"];
    let output = crawl(&args);
    let crawl = Crawl::read(&output);
    let all = sites.iter().flat_map(|site| ["", "1", "2", "3"].map(|page| site.url.clone() + page));
    crawl.assert_pages(all.collect::<Vec<_>>().iter().map(String::as_str));
    assert_eq!(crawl.last, ["8 pages, 0 dead links (limit 2)"]);
}

#[test]
fn a_rate_spaces_the_requests() {
    let links: String = (1..=10).map(|n| format!("<a href={n}>")).collect();
    let site = Site::serve([("/", html(&links))]);
    let begun = Instant::now();
    let output = crawl(&["--url", &site.url, "--rate", "40"]);
    assert_eq!(Crawl::read(&output).dead.len(), 10);
    assert!(begun.elapsed() >= Duration::from_millis(250), "{:?}", begun.elapsed());
}

#[test]
fn goes_on_past_pages_that_never_answer_or_break_off() {
    let site = Site::serve([
        ("/", html("<a href=silent><a href=cut><a href=nonsense><a href=fine>")),
        ("/silent", Answer::Silence),
        ("/cut", Answer::Raw("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nfour".to_owned())),
        ("/nonsense", Answer::Raw("220 mail.invalid ESMTP\r\n".to_owned())),
        ("/fine", html("")),
    ]);
    let output = crawl(&["--url", &site.url, "--timeout", "3", "--limit", "1"]);
    let crawl = Crawl::read(&output);
    crawl.assert_pages(["/", "/fine"]);
    let [cut, nonsense, silent] = crawl.dead.as_slice() else {
        panic!("{output:?}");
    };
    assert!(cut.starts_with("/cut: ") && cut.ends_with("; linked from /"), "{cut}");
    assert!(nonsense.starts_with("/nonsense: "), "{nonsense}");
    assert_eq!(silent, "/silent: not read within 3s; linked from /");
    site.assert_asked_once_each(["/", "/cut", "/fine", "/nonsense", "/silent"]);
}

#[test]
fn reads_no_more_than_the_beginning_of_a_huge_page() {
    let filler = " ".repeat(1 << 20);
    let site = Site::serve([
        ("/", html(&format!("<a href=near>{filler}<a href=far>"))),
        ("/near", html("")),
    ]);
    let output = crawl(&["--url", &site.url]);
    Crawl::read(&output).assert_pages(["/", "/near"]);
    site.assert_asked_once_each(["/", "/near"]);
}

#[test]
fn a_start_that_leads_elsewhere_is_the_only_page() {
    let site = Site::serve([("/", redirect("https://elsewhere.invalid/"))]);
    let output = crawl(&["--url", &site.url]);
    let crawl = Crawl::read(&output);
    crawl.assert_pages(["/ -> https://elsewhere.invalid/"]);
    assert_eq!(crawl.last, ["1 pages, 0 dead links (limit 8)"]);
}

// === what ends it ===

#[test]
fn a_start_page_that_refuses_connections_ends_it() {
    let (_port, url) = refused_url();
    let output = crawl(&["--url", &url]);
    let error = failure(&output, 1);
    assert!(error.starts_with(&format!("error: cannot read {url}: ")), "{error}");
}

#[test]
fn a_start_page_that_is_missing_ends_it() {
    let site = Site::serve([]);
    let output = crawl(&["--url", &site.url]);
    assert_eq!(failure(&output, 1), format!("error: cannot read {}: 404 Not Found", site.url));
}

#[test]
fn an_output_that_is_closed_ends_it() {
    // The second page is answered when the output has been closed.
    let closed = Arc::new(Barrier::new(2));
    let site = Site::serve([
        ("/", html("<a href=/late>")),
        ("/late", Answer::Together(Arc::clone(&closed))),
    ]);
    let mut child = command(&["--url", &site.url])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    for starts in ["crawling ", "200 "] {
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert!(line.starts_with(starts), "{line}");
    }
    drop(output);
    // On a thread, so that a program that ended too early fails the test and does not hang it.
    thread::spawn(move || closed.wait());

    let output = child.wait_with_output().unwrap();
    let error = failure(&output, 1);
    assert!(error.starts_with("error: cannot write: "), "{error}");
}

#[test]
fn bad_arguments_are_refused_in_one_line() {
    let cases: [(&[&str], &str); 11] = [
        (&["--url", "nonsense"], "'nonsense' for '--url <URL>': relative URL without a base"),
        (&["--url", "http://"], "empty host"),
        (&["--url", "https://localhost/"], "https is not supported, only http is"),
        (&["--url", "file:///etc/hosts"], "file is not supported, only http is"),
        (&["--limit", "0"], "'0' for '--limit <LIMIT>': must be a whole number from 1"),
        (&["--limit", "-1"], "'-1'"),
        (&["--per-host", "0"], "must be a whole number from 1"),
        (&["--rate", "0"], "must be a number from 0.001 to 1000000"),
        (&["--timeout", "0"], "must be a number of seconds above 0"),
        (&["--timeout", "inf"], "must be a number of seconds above 0"),
        (&["--depth", "3"], "unexpected argument '--depth'"),
    ];
    for (args, says) in cases {
        let output = crawl(args);
        let error = failure(&output, 2);
        assert!(error.starts_with("error: ") && error.contains(says), "{args:?}: {error}");
    }
}

// === the program ===

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_crawl"));
    command.args(args);
    command
}

fn crawl(args: &[&str]) -> Output {
    command(args).output().unwrap()
}

/// Returns the one line of a failed run.
fn failure(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    let error = String::from_utf8(output.stderr.clone()).unwrap();
    let line = error.strip_suffix('\n').unwrap();
    assert!(!line.contains('\n'), "{error}");
    line.to_owned()
}

/// The output of a successful run.
struct Crawl {
    /// The part after status, size and time; sorted.
    pages: Vec<String>,
    dead: Vec<String>,
    last: Vec<String>,
}

impl Crawl {
    fn read(output: &Output) -> Self {
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        let text = String::from_utf8(output.stdout.clone()).unwrap();
        let mut lines = text.lines();
        let first = lines.next().unwrap();
        assert!(first.starts_with("crawling http://127.0.0.1:"), "{first}");

        let (mut pages, mut dead, mut last) = (Vec::new(), Vec::new(), Vec::new());
        for line in lines {
            if let Some((numbers, page)) = line.split_once(" ms  ") {
                let [status, bytes, "B", ms] = Vec::from_iter(numbers.split_whitespace())[..]
                else {
                    panic!("{line}");
                };
                assert_eq!(status == "302", page.contains(" -> "), "{line}");
                assert!(status == "200" || status == "302", "{line}");
                assert!(bytes.parse::<usize>().is_ok_and(|bytes| bytes <= 1 << 20), "{line}");
                assert!(ms.parse::<u64>().is_ok(), "{line}");
                pages.push(page.to_owned());
            } else if let Some(line) = line.strip_prefix("  ") {
                dead.push(line.to_owned());
            } else if line != "dead links:" {
                last.push(line.to_owned());
            }
        }
        pages.sort();
        Self { pages, dead, last }
    }

    #[track_caller]
    fn assert_pages<'a>(&self, pages: impl IntoIterator<Item = &'a str>) {
        let mut pages = Vec::from_iter(pages);
        pages.sort();
        assert_eq!(self.pages, pages);
    }
}

// === a server ===

/// A site on loopback, with a thread for each connection.
struct Site {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

#[derive(Clone)]
enum Answer {
    Raw(String),
    /// An answer that comes when as many requests have come as the barrier says.
    Together(Arc<Barrier>),
    /// No answer, until the client gives up.
    Silence,
}

fn response(status: &str, header: &str, body: &str) -> Answer {
    let length = body.len();
    Answer::Raw(format!(
        "HTTP/1.1 {status}\r\n{header}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    ))
}

fn html(body: &str) -> Answer {
    response("200 OK", "Content-Type: Text/HTML ;charset=utf-8", body)
}

fn text(body: &str) -> Answer {
    response("200 OK", "Content-Type: text/plain", body)
}

fn redirect(target: &str) -> Answer {
    response("302 Found", &format!("Location: {target}"), "")
}

/// Returns the URL of a port that refuses connections. No program can listen there while the
/// stream is kept: it is the client's end of a connection.
fn refused_url() -> (TcpStream, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let url = format!("http://{}/", stream.local_addr().unwrap());
    (stream, url)
}

impl Site {
    fn serve<'a>(pages: impl IntoIterator<Item = (&'a str, Answer)>) -> Self {
        let pages = pages.into_iter().map(|(path, answer)| (path.to_owned(), answer));
        let pages = Arc::new(BTreeMap::from_iter(pages));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        // It ends with the process.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (pages, log) = (Arc::clone(&pages), Arc::clone(&log));
                thread::spawn(move || answer(stream.unwrap(), &pages, &log));
            }
        });
        Self { url, asked }
    }

    fn asked(&self) -> Vec<String> {
        let mut asked = self.asked.lock().unwrap().clone();
        asked.sort();
        asked
    }

    #[track_caller]
    fn assert_asked_once_each<const N: usize>(&self, sorted: [&str; N]) {
        assert_eq!(self.asked(), sorted);
    }
}

fn answer(stream: TcpStream, pages: &BTreeMap<String, Answer>, log: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(&stream);
    let mut request = String::new();
    reader.read_line(&mut request).unwrap();
    let Some(path) = request.split(' ').nth(1) else {
        return; // the client opened a connection that it did not use
    };
    log.lock().unwrap().push(path.to_owned());
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        reader.read_line(&mut line).unwrap();
    }
    let reply = match pages.get(path) {
        Some(Answer::Raw(reply)) => reply.clone(),
        Some(Answer::Together(barrier)) => {
            barrier.wait();
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned()
        }
        Some(Answer::Silence) => {
            let _ = reader.read(&mut [0]);
            return;
        }
        None => {
            "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned()
        }
    };
    // A client that has read enough closes before everything is written.
    let _ = (&stream).write_all(reply.as_bytes());
}
