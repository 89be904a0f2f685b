//! A site to crawl, served on loopback: cycles, links of pages to themselves, many spellings, slow
//! pages, redirects, dead links, and traps for a crawler that follows what is no link of the site.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, LOCATION};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use url::Url;

const SLOW: u32 = 12;
const POSTS: u32 = 40;
const CHAPTERS: u32 = 15;

/// How long a slow page takes.
const DELAY: Duration = Duration::from_millis(150);

/// A site that is served until the runtime ends.
pub(crate) struct Site {
    url: Url,
    log: Log,
}

/// The requests that a site has seen.
pub(crate) struct Seen {
    pub(crate) requests: usize,
    /// How many different pages were asked for.
    pub(crate) different: usize,
    /// The most requests that were in progress at once.
    pub(crate) most: usize,
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Entries>>);

#[derive(Default)]
struct Entries {
    pages: HashMap<String, usize>,
    now: usize,
    most: usize,
}

/// A request in progress. It is counted until it is dropped: before its answer is sent, so never
/// longer than the client waits.
struct InWork(Log);

enum Answer {
    Page(String),
    Slow(String),
    Redirect(&'static str),
    Picture(String),
    Refusal(StatusCode),
    /// No answer: the connection is closed.
    HangUp,
}

// === impl Site ===

impl Site {
    pub(crate) async fn serve() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = Url::parse(&format!("http://{}/", listener.local_addr()?))?;
        let log = Log::default();
        tokio::spawn(accept(listener, url.clone(), log.clone()));
        Ok(Self { url, log })
    }

    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    pub(crate) fn seen(&self) -> Seen {
        let entries = self.log.entries();
        Seen {
            requests: entries.pages.values().sum(),
            different: entries.pages.len(),
            most: entries.most,
        }
    }
}

async fn accept(listener: TcpListener, url: Url, log: Log) -> io::Result<Infallible> {
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(converse(stream, url.clone(), log.clone()));
    }
}

async fn converse(stream: TcpStream, url: Url, log: Log) {
    let service = service_fn(|request| respond(request, &url, &log));
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // It ends with an error if a page hangs up, as it should.
    let _ = connection.await;
}

async fn respond(
    request: Request<Incoming>,
    url: &Url,
    log: &Log,
) -> Result<Response<Full<Bytes>>> {
    let path = request.uri().to_string();
    let _in_work = log.enter(&path);
    let answer = answer(&path, url);
    if let Answer::Slow(_) = answer {
        tokio::time::sleep(DELAY).await;
    }
    let response = Response::builder();
    Ok(match answer {
        Answer::Page(text) | Answer::Slow(text) => {
            response.header(CONTENT_TYPE, "text/html; charset=utf-8").body(text.into())?
        }
        Answer::Picture(text) => {
            response.header(CONTENT_TYPE, "image/svg+xml").body(text.into())?
        }
        Answer::Redirect(target) => {
            response.status(StatusCode::FOUND).header(LOCATION, target).body(Full::default())?
        }
        Answer::Refusal(status) => response.status(status).body(Full::default())?,
        Answer::HangUp => bail!("hung up"),
    })
}

// === impl Log ===

impl Log {
    fn enter(&self, path: &str) -> InWork {
        let mut entries = self.entries();
        *entries.pages.entry(path.to_owned()).or_default() += 1;
        entries.now += 1;
        entries.most = entries.most.max(entries.now);
        InWork(self.clone())
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for InWork {
    fn drop(&mut self) {
        self.0.entries().now -= 1;
    }
}

// === the pages ===

fn answer(path: &str, url: &Url) -> Answer {
    match path {
        "/" => Answer::Page(index()),
        "/home" => Answer::Redirect("/#top"),
        "/loop/a" => Answer::Redirect("/loop/b"),
        "/loop/b" => Answer::Redirect("a"),
        "/away" => Answer::Redirect("http://elsewhere.invalid/trap"),
        "/moved" => Answer::Redirect("/gone"),
        "/search?q=a" => page("Search: a", &["?q=b", "/search?q=a#results", "/"]),
        "/search?q=b" => page("Search: b", &["?q=a", "/missing"]),
        "/based" => Answer::Page(
            "<base href=/docs/><base href=/trap/><a href=2>Chapter 2</a><a href=missing>?</a>"
                .to_owned(),
        ),
        "/traps" => Answer::Page(
            "<!-- <a href=/trap>1</a> --><script>'<a href=/trap>2</a>'</script>\
             <a name=/trap>3</a><link href=/trap><p title='<a href=/trap>4</a>'></p>"
                .to_owned(),
        ),
        "/logo.svg" => Answer::Picture("<svg><a href='/trap'></a></svg>".to_owned()),
        "/gone" => Answer::Refusal(StatusCode::GONE),
        "/broken" => Answer::Refusal(StatusCode::INTERNAL_SERVER_ERROR),
        "/hang-up" => Answer::HangUp,
        _ => {
            let (folder, n) = path.rsplit_once('/').unwrap_or_default();
            match (folder, n.parse()) {
                ("/slow", Ok(n @ 1..=SLOW)) => Answer::Slow(slow(n)),
                ("/blog", Ok(n @ 1..=POSTS)) => post(n, url),
                ("/docs", Ok(n @ 1..=CHAPTERS)) => chapter(n),
                _ => Answer::Refusal(StatusCode::NOT_FOUND),
            }
        }
    }
}

fn index() -> String {
    let mut links = Vec::from_iter((1..=SLOW).map(|n| format!("slow/{n}")));
    let others = [
        "/",
        "#top",
        "",
        "/home",
        "/blog/1",
        "/docs/1",
        "/loop/a",
        "/away",
        "/moved",
        "/search?q=a",
        "/based",
        "/traps",
        "/logo.svg",
        "/missing",
        "/broken",
        "/hang-up",
        "http://[::1",
        "http://elsewhere.invalid/trap",
        "https://127.0.0.1/trap",
        "mailto:someone@elsewhere.invalid",
    ];
    links.extend(others.map(str::to_owned));
    html("Index", &links)
}

fn slow(n: u32) -> String {
    html(&format!("Slow page {n}"), &["/".to_owned()])
}

/// A post links to both neighbours in a ring and to itself, in many spellings.
fn post(n: u32, url: &Url) -> Answer {
    let (next, last) = (n % POSTS + 1, (n + POSTS - 2) % POSTS + 1);
    let host = &url[url::Position::BeforeHost..url::Position::AfterPort];
    let mut links = vec![
        format!("{next}"),
        format!("./{last}"),
        format!("../blog/{next}#comments"),
        format!("/blog/./../blog/{last}"),
        format!("//{host}/blog/{next}"),
        format!("HTTP://{host}/blog/{next}#top"),
        format!("http://reader@{host}/blog/{n}"),
        format!(" {n}\n"),
        "..".to_owned(),
    ];
    if n % 10 == 0 {
        links.push("/blog/draft".to_owned());
    }
    Answer::Page(html(&format!("Post {n}"), &links))
}

/// A chapter links to the two below it in a tree, and to the one above.
fn chapter(n: u32) -> Answer {
    let below = [2 * n, 2 * n + 1].into_iter().filter(|&n| n <= CHAPTERS);
    let mut links = Vec::from_iter(below.map(|n| n.to_string()));
    links.push(if n == 1 { "/".to_owned() } else { (n / 2).to_string() });
    Answer::Page(html(&format!("Chapter {n}"), &links))
}

fn page(title: &str, links: &[&str]) -> Answer {
    let links = Vec::from_iter(links.iter().map(|&link| link.to_owned()));
    Answer::Page(html(title, &links))
}

fn html(title: &str, links: &[String]) -> String {
    let items = links.iter().map(|link| format!("<li><a href=\"{link}\">{link}</a></li>\n"));
    let items = String::from_iter(items);
    format!("<!doctype html>\n<title>{title}</title>\n<ul>\n{items}</ul>\n")
}
