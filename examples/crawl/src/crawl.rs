//! The crawl: the pages found so far, the links to them, and the group that visits them.

use std::cell::{Cell, RefCell};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::time::Duration;

use anyhow::{Context, Result};
use errgroup::{Ask, Group, Handle, LocalBoxed, task};
use tokio::time::{Instant, Sleep, sleep_until};
use url::{Position, Url};

use crate::fetch::{Fetcher, Page};

/// The handle by which a visit adds further visits. They borrow the [`Crawl`] for `'a`.
type Visits<'a> = Handle<LocalBoxed<'a, (), anyhow::Error>>;

/// How many requests there are.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// At a time.
    pub(crate) in_all: usize,
    /// At a time, to one host.
    pub(crate) per_host: Option<usize>,
    /// In a second.
    pub(crate) rate: Option<f64>,
}

/// A crawl of a site, or of several.
///
/// The children of its group share it by reference. They run in one task, one at a time, so all
/// they need is a `RefCell` that is never borrowed across an `.await`.
pub(crate) struct Crawl {
    /// The start pages. The crawl stays on their sites.
    starts: Vec<Url>,
    fetcher: Fetcher,
    /// Every link of a site that was ever found, by its normalized URL. One that is no URL is
    /// there as it was written, in quotes.
    found: RefCell<BTreeMap<String, Link>>,
    pages: Cell<usize>,
}

#[derive(Default)]
struct Link {
    /// The pages it is on.
    on: BTreeSet<String>,
    /// Why it is dead, if it is.
    dead: Option<String>,
}

impl Crawl {
    pub(crate) fn new(starts: Vec<Url>, fetcher: Fetcher) -> Self {
        let mut starts: Vec<_> = starts.into_iter().map(normalized).collect();
        starts.sort();
        starts.dedup();
        let found: BTreeMap<_, _> =
            starts.iter().map(|start| (start.to_string(), Link::default())).collect();
        Self { starts, fetcher, found: found.into(), pages: Cell::new(0) }
    }

    /// Visits the start pages and all pages that they lead to.
    pub(crate) async fn run(&self, limits: Limits) -> Result<()> {
        // `local`: the visits share a `RefCell`, so they aren't `Send` and need not be.
        let mut group = Group::local().with_limit(limits.in_all);
        if let Some(per_host) = limits.per_host {
            group = group.with_key_limit(per_host);
        }
        if let Some(rate) = limits.rate {
            group = group.with_gate(at_a_rate(rate));
        }
        let visits = group.handle();
        self.starts.iter().for_each(|start| self.queue(&visits, start.clone()));
        group.await
    }

    /// Queues a visit. Its key is the host, whose limit delays no visit of another one.
    fn queue<'a>(&'a self, visits: &Visits<'a>, url: Url) {
        let host = url[Position::BeforeHost..Position::AfterPort].to_owned();
        visits.queue(task(self.visit(visits.clone(), url)).key(host));
    }

    /// Reads one page, and queues a visit for each of its links that is new.
    ///
    /// It uses `queue`, not `go`: a visit that waited in `go` would take one of the `limit` slots
    /// while it requests nothing. (It would not deadlock, even if all visits waited: a group lets
    /// the oldest waiter go on.) Backpressure would save nothing here either: each page is
    /// remembered anyway, and a queued visit is little more than its URL.
    async fn visit<'a>(&'a self, visits: Visits<'a>, url: Url) -> Result<()> {
        // Boxed, so that a visit is small while it is queued.
        let page = match Box::pin(self.fetcher.get(&url)).await {
            Ok(page) => page,
            // This stops the group: without its start page, a site has not been crawled.
            Err(error) if self.starts.contains(&url) => {
                return Err(error.context(format!("cannot read {url}")));
            }
            Err(error) => {
                self.mark_dead(&url, format!("{error:#}"));
                return Ok(());
            }
        };
        self.pages.set(self.pages.get() + 1);
        self.report(&url, &page).context("cannot write")?;
        for link in &page.links {
            if let Some(next) = self.discover(&url, &page.base, link) {
                self.queue(&visits, next);
            }
        }
        Ok(())
    }

    /// Writes a page's line. A failure, as when the output is a closed pipe, is an error of the
    /// group: there is no use in going on.
    fn report(&self, url: &Url, page: &Page) -> io::Result<()> {
        let url = self.short(url);
        match page.redirect() {
            Some(target) => writeln!(io::stdout(), "{page}  {url} -> {target}"),
            None => writeln!(io::stdout(), "{page}  {url}"),
        }
    }

    /// Records a link that is `on` a page. Returns its URL, which is to be visited, or `None` if it
    /// is on another site or was found before.
    fn discover(&self, on: &Url, base: &Url, link: &str) -> Option<Url> {
        let (key, url, dead) = match base.join(link) {
            Ok(url) if self.starts.iter().all(|it| it.origin() != url.origin()) => return None,
            Ok(url) => {
                let url = normalized(url);
                (url.to_string(), Some(url), None)
            }
            Err(error) => (format!("{link:?}"), None, Some(error.to_string())),
        };
        let mut found = self.found.borrow_mut();
        let (link, next) = match found.entry(key) {
            Entry::Occupied(known) => (known.into_mut(), None),
            Entry::Vacant(new) => {
                let link = new.insert(Link::default());
                link.dead = dead;
                (link, url)
            }
        };
        link.on.insert(self.short(on).to_owned());
        next
    }

    fn mark_dead(&self, url: &Url, why: String) {
        let mut found = self.found.borrow_mut();
        found.entry(url.to_string()).or_default().dead = Some(why);
    }

    /// Returns how many pages were read, including redirects.
    pub(crate) fn pages(&self) -> usize {
        self.pages.get()
    }

    /// Returns a line for each dead link: its URL, why it is dead, and the pages it is on.
    pub(crate) fn dead_links(&self) -> Vec<String> {
        let found = self.found.borrow();
        let line = |(url, link): (&String, &Link)| {
            let why = link.dead.as_ref()?;
            let on = Vec::from_iter(link.on.iter().map(String::as_str)).join(", ");
            let url = Url::parse(url).map_or(url.clone(), |url| self.short(&url).to_owned());
            Some(format!("{url}: {why}; linked from {on}"))
        };
        found.iter().filter_map(line).collect()
    }

    /// Returns what tells a page from others: its path and query, if there is one site.
    fn short<'a>(&self, url: &'a Url) -> &'a str {
        if self.starts.len() == 1 { &url[Position::BeforePath..] } else { url.as_str() }
    }
}

/// Returns a gate that lets at most so many children pass in any second, evenly spaced.
fn at_a_rate(rate: f64) -> impl FnMut(&Ask<'_>) -> Sleep {
    let (pause, mut next) = (Duration::from_secs_f64(1.0 / rate), Instant::now());
    move |_| {
        let turn = next.max(Instant::now());
        next = turn + pause;
        sleep_until(turn)
    }
}

/// Returns the one spelling of all URLs that make the same request. `url` has already resolved the
/// dots, the case of the host and the default port; fragment and credentials are never sent.
fn normalized(mut url: Url) -> Url {
    url.set_fragment(None);
    // These fail for a URL without a host. The start page has one, and so have all others of its
    // origin.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url
}
