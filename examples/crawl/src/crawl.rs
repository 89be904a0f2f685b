//! The crawl: which pages there are, who links to them, and the group that visits them.

use std::cell::{Cell, RefCell};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use anyhow::{Context, Result};
use errgroup::{Group, Handle, LocalBoxed};
use url::{Position, Url};

use crate::fetch::{Fetcher, Page};

/// What a visit adds further visits through. The visits borrow the [`Crawl`] for `'a`.
type Visits<'a> = Handle<LocalBoxed<'a, (), anyhow::Error>>;

/// A crawl of one site.
///
/// The children of its group share it by reference. They run in one task, one at a time, so
/// that a `RefCell` that is never borrowed across an `.await` is all they need.
pub(crate) struct Crawl {
    start: Url,
    fetcher: Fetcher,
    /// Every link of the site that was ever found, by its normalized URL; one that is no URL
    /// at all, as it was written, in quotes.
    found: RefCell<BTreeMap<String, Link>>,
    pages: Cell<usize>,
}

#[derive(Default)]
struct Link {
    /// The pages it is on.
    on: BTreeSet<String>,
    /// Why it leads nowhere.
    dead: Option<String>,
}

impl Crawl {
    pub(crate) fn new(start: Url, fetcher: Fetcher) -> Self {
        let start = normalized(start);
        let found = BTreeMap::from([(start.to_string(), Link::default())]);
        Self { start, fetcher, found: found.into(), pages: Cell::new(0) }
    }

    /// Visits all pages that the start page leads to, at most `limit` at a time.
    pub(crate) async fn run(&self, limit: usize) -> Result<()> {
        // `local`: the visits share a `RefCell`, so they aren't `Send` and need not be.
        let mut group = Group::local().with_limit(limit);
        let visits = group.handle();
        group.queue(self.visit(visits, self.start.clone()));
        group.await
    }

    /// Reads one page and queues a visit for each of its links that is new.
    ///
    /// `queue`, not `go`: a visit that waited in `go` would occupy one of the `limit` places
    /// while it requests nothing. (It would not deadlock, though all of them waited so: a
    /// group lets the longest waiting go on.) Backpressure would save nothing here either:
    /// each page is remembered anyway, and a visit that waits is little more than its URL.
    async fn visit<'a>(&'a self, visits: Visits<'a>, url: Url) -> Result<()> {
        // Boxed, so that a visit is small until its turn comes.
        let page = match Box::pin(self.fetcher.get(&url)).await {
            Ok(page) => page,
            // This stops the group: nothing else has been found yet.
            Err(error) if url == self.start => {
                return Err(error.context(format!("cannot read {url}")));
            }
            Err(error) => {
                self.bury(&url, format!("{error:#}"));
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

    /// Writes a page's line. That this fails, as where the output is a pipe that was closed,
    /// is an error of the group: what is the use of going on?
    fn report(&self, url: &Url, page: &Page) -> io::Result<()> {
        let url = short(url);
        match page.redirect() {
            Some(target) => writeln!(io::stdout(), "{page}  {url} -> {target}"),
            None => writeln!(io::stdout(), "{page}  {url}"),
        }
    }

    /// Notes a link that is `on` a page; gives its URL, to be visited, where it is on this
    /// site and was not found before.
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

    fn bury(&self, url: &Url, why: String) {
        let mut found = self.found.borrow_mut();
        found.entry(url.to_string()).or_default().dead = Some(why);
    }

    /// How many pages were read, redirects among them.
    pub(crate) fn pages(&self) -> usize {
        self.pages.get()
    }

    /// A line for each link that leads nowhere: which, why, and the pages it is on.
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

/// One spelling for what a server is asked for in one way: `url` has resolved the dots, the
/// case of the host and the default port; fragment and credentials are never sent.
fn normalized(mut url: Url) -> Url {
    url.set_fragment(None);
    // These fail for a URL without a host; the start page's has one, and so have all others
    // of its origin.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url
}

/// A page within its site: path and query.
fn short(url: &Url) -> &str {
    &url[Position::BeforePath..]
}
