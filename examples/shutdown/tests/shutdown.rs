//! Starts the program, sends it requests, and ends it in every way.
//!
//! No test sleeps: each waits for a line of the program, or for an answer.
#![cfg(unix)]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStderr, ChildStdout, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Nothing takes this long unless it hangs.
const HANGS: Duration = Duration::from_secs(60);

/// Longer than any test waits, in milliseconds.
const HOURS: &str = "10000000";

// === the program ===

/// The running program.
struct Program {
    child: Child,
    stderr: ChildStderr,
    lines: Lines,
    address: SocketAddr,
}

/// The code and the output of a program that has ended.
#[derive(Debug)]
struct End {
    code: Option<i32>,
    last_line: String,
    stderr: String,
}

impl Program {
    /// Starts it, and reads its first line.
    fn start(args: &[&str]) -> Self {
        let mut child = command(args).spawn().unwrap();
        let stderr = child.stderr.take().unwrap();
        let mut lines = Lines::read(child.stdout.take().unwrap());
        let first = lines.wait_for(|_| true);
        let address = first.strip_prefix("listening on http://").unwrap();
        let address: SocketAddr = address.parse().unwrap();
        assert!(address.ip().is_loopback());
        Self { child, stderr, lines, address }
    }

    fn connect(&self) -> Client {
        Client::connect(self.address).unwrap()
    }

    /// Begins a request on a new connection. The program is answering it when this returns.
    fn begin(&mut self, path: &str) -> Client {
        let mut client = self.connect();
        client.get(path);
        let line = format!("{}: GET {path}", client.address());
        self.lines.wait_for(|other| other == line);
        client
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits until it is ending, with requests that are still being answered.
    fn wait_until_ending(&mut self) -> String {
        self.lines.wait_for(|line| line.starts_with("ending "))
    }

    /// Waits for the end, which the test has caused.
    fn wait(mut self) -> End {
        let last_line = self.lines.last();
        let code = self.child.wait().unwrap().code();
        let mut stderr = String::new();
        self.stderr.read_to_string(&mut stderr).unwrap();
        End { code, last_line, stderr }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It has ended already unless the test fails.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shutdown"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Returns the output of a program that can't start.
fn refused(args: &[&str]) -> Output {
    command(args).output().unwrap()
}

/// The lines of a program, read as they come.
struct Lines {
    lines: mpsc::Receiver<String>,
    seen: Vec<String>,
}

impl Lines {
    fn read(stdout: ChildStdout) -> Self {
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                if sender.send(line.unwrap()).is_err() {
                    break;
                }
            }
        });
        let seen = Vec::new();
        Self { lines, seen }
    }

    /// Returns the next line, or `None` if stdout is closed.
    fn next(&mut self, deadline: Instant) -> Option<String> {
        let left = deadline.saturating_duration_since(Instant::now());
        match self.lines.recv_timeout(left) {
            Ok(line) => {
                self.seen.push(line.clone());
                Some(line)
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => None,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("it hangs after {:#?}", self.seen),
        }
    }

    fn wait_for(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + HANGS;
        while let Some(line) = self.next(deadline) {
            if wanted(&line) {
                return line;
            }
        }
        panic!("no such line in {:#?}", self.seen);
    }

    /// Returns the last line before stdout is closed.
    fn last(&mut self) -> String {
        let deadline = Instant::now() + HANGS;
        while self.next(deadline).is_some() {}
        self.seen.last().cloned().unwrap_or_default()
    }
}

// === the client ===

/// A connection to the program.
struct Client(BufReader<TcpStream>);

#[derive(Debug)]
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Client {
    fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(HANGS))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Returns this client's address, as the program sees it.
    fn address(&self) -> SocketAddr {
        self.0.get_ref().local_addr().unwrap()
    }

    fn get(&mut self, path: &str) {
        self.request("GET", path);
    }

    fn request(&mut self, method: &str, path: &str) {
        let request = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        self.0.get_mut().write_all(request.as_bytes()).unwrap();
    }

    /// Reads one answer, whole.
    fn answer(&mut self) -> io::Result<Answer> {
        let status = self.line()?;
        let status = status.split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else {
                assert_eq!(line, "");
                break;
            };
            headers.push((name.to_ascii_lowercase(), value.trim().to_string()));
        }
        let mut answer = Answer { status, headers, body: String::new() };
        let length = answer.header("content-length").unwrap().parse().unwrap();
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        answer.body = String::from_utf8(body).unwrap();
        Ok(answer)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        let line = line.strip_suffix("\r\n");
        line.map(String::from).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// Returns `true` if the program closes the connection and sends nothing more.
    fn is_closed(&mut self) -> bool {
        match self.0.read(&mut [0]) {
            Ok(read) => read == 0,
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find(|header| header.0 == name).map(|header| header.1.as_str())
    }
}

// === it serves ===

#[test]
fn it_answers_request_after_request_on_one_connection() {
    let program = Program::start(&[]);
    let mut client = program.connect();
    for (path, status, body) in [
        ("/", 200, "hello\n"),
        ("/slow?ms=20", 200, "after 20 ms\n"),
        ("/slow?a=b&ms=0", 200, "after 0 ms\n"),
        ("/slow", 400, "how slow? /slow?ms=N\n"),
        ("/slow?ms=-1", 400, "how slow? /slow?ms=N\n"),
        ("/elsewhere", 404, "not here\n"),
        ("/", 200, "hello\n"),
    ] {
        client.get(path);
        let answer = client.answer().unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (status, body), "{path}");
    }
    client.request("POST", "/shutdown");
    assert_eq!(client.answer().unwrap().status, 405);

    program.signal(Signal::TERM);
    assert_eq!(program.wait().code, Some(0));
}

#[test]
fn it_listens_on_the_port_that_it_is_given() {
    // A port that was free a moment ago; another program may have taken it since.
    for _ in 0..10 {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let mut child = command(&["--port", &port.to_string()]).spawn().unwrap();
        let mut first = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut first).unwrap();
        let _ = child.kill();
        child.wait().unwrap();
        if !first.is_empty() {
            assert_eq!(first, format!("listening on http://127.0.0.1:{port}\n"));
            return;
        }
    }
    panic!("found no free port");
}

#[test]
fn a_slow_request_does_not_hold_others_up() {
    let mut program = Program::start(&[]);
    let _slow = program.begin(&format!("/slow?ms={HOURS}"));
    let mut client = program.connect();
    client.get("/");
    assert_eq!(client.answer().unwrap().body, "hello\n");
}

#[test]
fn the_worker_counts_connections_until_the_end() {
    let mut program = Program::start(&[]);
    let mut client = program.begin("/");
    assert_eq!(client.answer().unwrap().status, 200);
    program.lines.wait_for(|line| line == "worker: connections: 1 open, 0 closed");
    drop(client);
    program.lines.wait_for(|line| line == "worker: connections: 0 open, 1 closed");
    program.signal(Signal::TERM);
    program.lines.wait_for(|line| line.starts_with("worker: stopped"));
    assert_eq!(program.wait().code, Some(0));
}

// === each of them ends the others ===

#[test]
fn sigint_ends_it() {
    let program = Program::start(&[]);
    program.signal(Signal::INT);
    let end = program.wait();
    assert_eq!((end.code, end.last_line.as_str()), (Some(0), "ended by SIGINT"));
    assert_eq!(end.stderr, "");
}

#[test]
fn sigterm_ends_it() {
    let program = Program::start(&[]);
    program.signal(Signal::TERM);
    let end = program.wait();
    assert_eq!((end.code, end.last_line.as_str()), (Some(0), "ended by SIGTERM"));
    assert_eq!(end.stderr, "");
}

#[test]
fn a_request_ends_it_and_is_answered() {
    let program = Program::start(&[]);
    let mut client = program.connect();
    let by = format!("ended by GET /shutdown from {}", client.address());
    client.get("/shutdown");
    assert_eq!(client.answer().unwrap().status, 200);
    assert!(client.is_closed());
    let end = program.wait();
    assert_eq!((end.code, end.last_line), (Some(0), by));
    assert_eq!(end.stderr, "");
}

#[test]
fn a_request_that_ends_it_is_answered_without_any_grace_too() {
    let program = Program::start(&["--grace", "0"]);
    let mut client = program.connect();
    client.get("/shutdown");
    assert_eq!(client.answer().unwrap().status, 200);
    assert_eq!(program.wait().code, Some(0));
}

#[test]
fn a_failing_worker_ends_it_with_exit_code_1() {
    let program = Program::start(&["--worker-fails-after", "20"]);
    let end = program.wait();
    let by = "ended by the worker: it failed after 20ms";
    assert_eq!((end.code, end.last_line.as_str()), (Some(1), by));
    assert_eq!(end.stderr, "");
}

// === requests in progress are answered ===

/// Ends the program by `end` while a slow request is being answered, and checks the answer.
fn slow_is_answered_when_ended_by(args: &[&str], end: impl FnOnce(&Program)) -> End {
    let mut program = Program::start(args);
    let mut slow = program.begin("/slow?ms=3000");
    end(&program);
    program.wait_until_ending();
    let answer = slow.answer().unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (200, "after 3000 ms\n"));
    // The program was ending, so the client is told not to ask again.
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(slow.is_closed());
    program.wait()
}

#[test]
fn a_request_in_progress_is_answered_after_sigint() {
    let end = slow_is_answered_when_ended_by(&["--grace", HOURS], |program| {
        program.signal(Signal::INT);
    });
    assert_eq!((end.code, end.last_line.as_str()), (Some(0), "ended by SIGINT"));
}

#[test]
fn a_request_in_progress_is_answered_after_sigterm() {
    let end = slow_is_answered_when_ended_by(&["--grace", HOURS], |program| {
        program.signal(Signal::TERM);
    });
    assert_eq!((end.code, end.last_line.as_str()), (Some(0), "ended by SIGTERM"));
}

#[test]
fn a_request_in_progress_is_answered_after_a_request_to_end() {
    let end = slow_is_answered_when_ended_by(&["--grace", HOURS], |program| {
        let mut other = program.connect();
        other.get("/shutdown");
        assert_eq!(other.answer().unwrap().status, 200);
    });
    assert_eq!(end.code, Some(0));
    assert!(end.last_line.starts_with("ended by GET /shutdown from 127.0.0.1:"));
    assert!(!end.last_line.contains("cut"));
}

#[test]
fn a_request_in_progress_is_answered_after_the_worker_failed() {
    // A test can't cause this end at a certain moment: it comes within the three seconds.
    let args = ["--grace", HOURS, "--worker-fails-after", "2000"];
    let end = slow_is_answered_when_ended_by(&args, |_| {});
    let by = "ended by the worker: it failed after 2s";
    assert_eq!((end.code, end.last_line.as_str()), (Some(1), by));
}

#[test]
fn the_cause_is_printed_as_soon_as_the_end_begins() {
    for (args, signal, cause) in [
        (&[][..], Some(Signal::INT), "SIGINT"),
        (&["--worker-fails-after", "2000"], None, "the worker: it failed after 2s"),
    ] {
        let mut program = Program::start(args);
        let _slow = program.begin(&format!("/slow?ms={HOURS}"));
        if let Some(signal) = signal {
            program.signal(signal);
        }
        assert_eq!(
            program.wait_until_ending(),
            format!("ending ({cause}): requests have 5000 ms; a signal ends it at once")
        );
    }
}

#[test]
fn no_new_client_is_served_while_it_ends() {
    let mut program = Program::start(&["--grace", HOURS]);
    let slow = program.begin(&format!("/slow?ms={HOURS}"));
    program.signal(Signal::TERM);
    program.wait_until_ending();
    // A connection that was in the kernel's queue when the port closed is reset or closed.
    while let Ok(mut client) = Client::connect(program.address) {
        assert!(client.is_closed());
    }
    // The last client leaves, and nothing is left to wait for.
    drop(slow);
    let end = program.wait();
    assert_eq!((end.code, end.last_line.as_str()), (Some(0), "ended by SIGTERM"));
}

#[test]
fn idle_connections_do_not_delay_the_end() {
    let mut program = Program::start(&["--grace", HOURS]);
    let mut kept_alive = program.connect();
    kept_alive.get("/");
    assert_eq!(kept_alive.answer().unwrap().header("connection"), None);
    let mut silent = program.connect();
    program.lines.wait_for(|line| line == "worker: connections: 2 open, 0 closed");
    program.signal(Signal::TERM);
    assert!(kept_alive.is_closed());
    assert!(silent.is_closed());
    let end = program.wait();
    assert_eq!((end.code, end.last_line.as_str()), (Some(0), "ended by SIGTERM"));
}

// === the grace ===

#[test]
fn slow_requests_are_cut_when_the_grace_is_over() {
    let mut program = Program::start(&["--grace", "50"]);
    let mut one = program.begin(&format!("/slow?ms={HOURS}"));
    let mut two = program.begin(&format!("/slow?ms={HOURS}"));
    program.signal(Signal::TERM);
    assert!(one.is_closed());
    assert!(two.is_closed());
    let end = program.wait();
    let by = "ended by SIGTERM; 2 connections were cut";
    assert_eq!((end.code, end.last_line.as_str()), (Some(0), by));
    assert_eq!(end.stderr, "");
}

#[test]
fn the_grace_after_a_failed_worker_ends_too() {
    let mut program = Program::start(&["--grace", "50", "--worker-fails-after", "2000"]);
    let mut slow = program.begin(&format!("/slow?ms={HOURS}"));
    assert!(slow.is_closed());
    let end = program.wait();
    let by = "ended by the worker: it failed after 2s; 1 connection was cut";
    assert_eq!((end.code, end.last_line.as_str()), (Some(1), by));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    for (first, second, code, last_line) in [
        (
            Signal::TERM,
            Signal::INT,
            130,
            "ended by SIGTERM, then at once by SIGINT; 1 connection was cut",
        ),
        (
            Signal::TERM,
            Signal::TERM,
            143,
            "ended by SIGTERM, then at once by SIGTERM; 1 connection was cut",
        ),
    ] {
        let mut program = Program::start(&["--grace", HOURS]);
        let mut slow = program.begin(&format!("/slow?ms={HOURS}"));
        program.signal(first);
        program.wait_until_ending();
        program.signal(second);
        assert!(slow.is_closed());
        let end = program.wait();
        assert_eq!((end.code, end.last_line.as_str()), (Some(code), last_line));
        assert_eq!(end.stderr, "");
    }
}

#[test]
fn a_signal_after_a_request_to_end_ends_it_at_once() {
    let mut program = Program::start(&["--grace", HOURS]);
    let mut slow = program.begin(&format!("/slow?ms={HOURS}"));
    let mut other = program.begin("/shutdown");
    assert_eq!(other.answer().unwrap().status, 200);
    program.wait_until_ending();
    program.signal(Signal::INT);
    assert!(slow.is_closed());
    let by = format!(
        "ended by GET /shutdown from {}, then at once by SIGINT; 1 connection was cut",
        other.address()
    );
    let end = program.wait();
    assert_eq!((end.code, end.last_line), (Some(130), by));
}

// === what goes wrong ===

#[test]
fn a_port_in_use_is_one_line_and_exit_code_2() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let output = refused(&["--port", &address.port().to_string()]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.starts_with(&format!("error: cannot listen on {address}: ")), "{stderr}");
    assert_eq!(output.stdout, b"");
}

#[test]
fn a_bad_flag_is_one_line_and_exit_code_2() {
    for (args, line) in [
        (
            &["--port", "http"][..],
            "error: invalid value 'http' for '--port <P>': invalid digit found in string\n",
        ),
        (
            &["--port", "65536"],
            "error: invalid value '65536' for '--port <P>': 65536 is not in 0..=65535\n",
        ),
        (
            &["--grace", "-1"],
            "error: invalid value '-1' for '--grace <MS>': invalid digit found in string\n",
        ),
        (
            &["--worker-fails-after", "1s"],
            "error: invalid value '1s' for '--worker-fails-after <MS>': \
             invalid digit found in string\n",
        ),
        (&["--grace"], "error: a value is required for '--grace <MS>' but none was supplied\n"),
        (&["--mercy"], "error: unexpected argument '--mercy' found\n"),
        (&["8080"], "error: unexpected argument '8080' found\n"),
    ] {
        let output = refused(args);
        assert_eq!(String::from_utf8(output.stderr).unwrap(), line);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert_eq!(output.stdout, b"");
    }
}

#[test]
fn the_longest_times_are_accepted() {
    let longest = u64::MAX.to_string();
    let mut program = Program::start(&["--grace", &longest, "--worker-fails-after", &longest]);
    let slow = program.begin(&format!("/slow?ms={longest}"));
    program.signal(Signal::TERM);
    program.wait_until_ending();
    drop(slow);
    let end = program.wait();
    assert_eq!((end.code, end.last_line.as_str()), (Some(0), "ended by SIGTERM"));
}

#[test]
fn it_goes_on_when_its_stdout_is_closed() {
    let mut child = command(&[]).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    stdout.read_line(&mut first).unwrap();
    drop(stdout);

    let address = first.trim_end().strip_prefix("listening on http://");
    let mut client = Client::connect(address.unwrap().parse().unwrap()).unwrap();
    client.get("/");
    assert_eq!(client.answer().unwrap().body, "hello\n");
    client.get("/shutdown");
    assert_eq!(client.answer().unwrap().body, "ending\n");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(output.stderr, b"");
}

#[test]
fn garbage_ends_only_its_connection() {
    let mut program = Program::start(&[]);
    let mut garbage = program.connect();
    garbage.0.get_mut().write_all(b"\x16\x03\x01 hello\r\n\r\n").unwrap();
    assert_eq!(garbage.line().unwrap(), "HTTP/1.1 400 Bad Request");
    let line = format!("{}: ", garbage.address());
    program.lines.wait_for(|other| other.starts_with(&line));
    let mut client = program.connect();
    client.get("/");
    assert_eq!(client.answer().unwrap().status, 200);
}
