//! The crawl: the pages found so far, the links to them, and the group that visits them.

use std::cell::{Cell, RefCell};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use anyhow::{Context, Result};
use errgroup::{Group, Handle, LocalBoxed};
use url::{Position, Url};

use crate::fetch::{Fetcher, Page};

/// The handle by which a visit adds further visits. They borrow the [`Crawl`] for `'a`.
type Visits<'a> = Handle<LocalBoxed<'a, (), anyhow::Error>>;

/// A crawl of one site.
///
/// The children of its group share it by reference. They run in one task, one at a time, so all
/// they need is a `RefCell` that is never borrowed across an `.await`.
pub(crate) struct Crawl {
    start: Url,
    fetcher: Fetcher,
    /// Every link of the site that was ever found, by its normalized URL. One that is no URL is
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
    pub(crate) fn new(start: Url, fetcher: Fetcher) -> Self {
        let start = normalized(start);
        let found = BTreeMap::from([(start.to_string(), Link::default())]);
        Self { start, fetcher, found: found.into(), pages: Cell::new(0) }
    }

    /// Visits the start page and all pages that it leads to, at most `limit` at a time.
    pub(crate) async fn run(&self, limit: usize) -> Result<()> {
        // `local`: the visits share a `RefCell`, so they aren't `Send` and need not be.
        let mut group = Group::local().with_limit(limit);
        let visits = group.handle();
        group.queue(self.visit(visits, self.start.clone()));
        group.await
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
            // This stops the group: nothing else has been found yet.
            Err(error) if url == self.start => {
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
                visits.queue(self.visit(visits.clone(), next));
            }
        }
        Ok(())
    }

    /// Writes a page's line. A failure, as when the output is a closed pipe, is an error of the
    /// group: there is no use in going on.
    fn report(&self, url: &Url, page: &Page) -> io::Result<()> {
        let url = short(url);
        match page.redirect() {
            Some(target) => writeln!(io::stdout(), "{page}  {url} -> {target}"),
            None => writeln!(io::stdout(), "{page}  {url}"),
        }
    }

    /// Records a link that is `on` a page. Returns its URL, which is to be visited, or `None` if it
    /// is on another site or was found before.
    fn discover(&self, on: &Url, base: &Url, link: &str) -> Option<Url> {
        let (key, url, dead) = match base.join(link) {
            Ok(url) if url.origin() != self.start.origin() => return None,
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
        link.on.insert(short(on).to_owned());
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
            let url = Url::parse(url).map_or(url.clone(), |url| short(&url).to_owned());
            Some(format!("{url}: {why}; linked from {on}"))
        };
        found.iter().filter_map(line).collect()
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

/// Returns a page's path and query.
fn short(url: &Url) -> &str {
    &url[Position::BeforePath..]
}
