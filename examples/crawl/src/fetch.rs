//! Fetches one page.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, LOCATION, USER_AGENT};
use hyper::{Request, Response, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use url::Url;

use crate::links::{Links, links};

/// How much of a body is read. Links behind that are not found.
const MOST_BYTES: usize = 1 << 20;

/// A client with a pool of connections, and the time that a page may take.
pub(crate) struct Fetcher {
    client: Client<HttpConnector, Empty<Bytes>>,
    timeout: Duration,
}

/// A page that was read. A redirect is a page with one link.
pub(crate) struct Page {
    status: StatusCode,
    bytes: usize,
    took: Duration,
    /// The links as they are written on the page, relative to `base`.
    pub(crate) links: Vec<String>,
    pub(crate) base: Url,
}

impl Fetcher {
    pub(crate) fn new(timeout: Duration) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { client, timeout }
    }

    /// Gets a page with its links. An answer that is neither a success nor a redirect is an error,
    /// as no answer is.
    pub(crate) async fn get(&self, url: &Url) -> Result<Page> {
        let began = Instant::now();
        let mut page = tokio::time::timeout(self.timeout, self.read(url))
            .await
            .map_err(|_| anyhow!("not read within {:?}", self.timeout))??;
        page.took = began.elapsed();
        Ok(page)
    }

    async fn read(&self, url: &Url) -> Result<Page> {
        let request = Request::get(url.as_str())
            .header(USER_AGENT, "errgroup-example-crawl")
            .body(Empty::new())?;
        let response = self.client.request(request).await?;

        let mut page = Page {
            status: response.status(),
            bytes: 0,
            took: Duration::ZERO,
            links: Vec::new(),
            base: url.clone(),
        };
        if page.status.is_redirection() {
            let location = response.headers().get(LOCATION);
            let location = location.with_context(|| format!("{} to nowhere", page.status))?;
            page.links = vec![String::from_utf8_lossy(location.as_bytes()).into_owned()];
            return Ok(page);
        }
        ensure!(page.status.is_success(), "{}", page.status);

        let html = is_html(&response);
        let body = first_bytes(response.into_body()).await?;
        page.bytes = body.len();
        if html {
            let Links { base, hrefs } = links(&body);
            if let Some(base) = base.and_then(|base| url.join(&base).ok()) {
                page.base = base;
            }
            page.links = hrefs;
        }
        Ok(page)
    }
}

impl Page {
    /// Returns where a redirect leads, as the server says it, or `None` if it is no redirect.
    pub(crate) fn redirect(&self) -> Option<&str> {
        let target = self.links.first().filter(|_| self.status.is_redirection());
        target.map(String::as_str)
    }
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (status, bytes, took) = (self.status.as_u16(), self.bytes, self.took.as_millis());
        write!(f, "{status} {bytes:>7} B {took:>5} ms")
    }
}

fn is_html(response: &Response<Incoming>) -> bool {
    let kind = response.headers().get(CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("text/html")
}

async fn first_bytes(mut body: Incoming) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        // A frame that is no data is a trailer.
        let data = frame?.into_data().unwrap_or_default();
        let room = MOST_BYTES - bytes.len();
        if data.len() > room {
            bytes.extend_from_slice(&data[..room]);
            break;
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}
