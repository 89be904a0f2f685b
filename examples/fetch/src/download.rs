//! One download: resumed, retried, verified.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use backon::{ExponentialBuilder, Retryable};
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::header::{CONTENT_LENGTH, RANGE};
use hyper::{Request, StatusCode, Uri};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use sha2::{Digest, Sha256};
use tokio::fs;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

/// How long a server may be silent.
const SILENCE: Duration = Duration::from_secs(10);

/// A line of the list.
pub(crate) struct File {
    pub(crate) url: String,
    pub(crate) host: String,
    pub(crate) name: String,
    sha256: Option<String>,
}

impl File {
    pub(crate) fn parse(line: &str) -> Result<Self> {
        let mut words = line.split_whitespace();
        let url = words.next().context("an empty line")?.to_string();
        let uri: Uri = url.parse().with_context(|| url.clone())?;
        let host = uri.authority().with_context(|| format!("{url}: no host"))?.to_string();
        let name = uri.path().rsplit('/').next().unwrap_or_default().to_string();
        ensure!(!name.is_empty() && name != "..", "{url}: no name of a file");
        Ok(Self { url, host, name, sha256: words.next().map(str::to_lowercase) })
    }
}

/// How a file came to be there.
pub(crate) enum How {
    WasThere,
    Fetched {
        bytes: u64,
        /// How many of them were there before the last attempt.
        resumed: u64,
    },
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WasThere => write!(f, "was there"),
            Self::Fetched { bytes, resumed: 0 } => write!(f, "{bytes} bytes"),
            Self::Fetched { bytes, resumed } => write!(f, "{bytes} bytes, went on after {resumed}"),
        }
    }
}

/// The checksum is another one: another attempt would not help.
#[derive(Debug)]
struct Mismatch;

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("another checksum")
    }
}

impl std::error::Error for Mismatch {}

pub(crate) struct Client<'a> {
    client: hyper_util::client::legacy::Client<HttpConnector, Empty<Bytes>>,
    out: &'a Path,
    bars: &'a MultiProgress,
}

impl<'a> Client<'a> {
    pub(crate) fn new(out: &'a Path, bars: &'a MultiProgress) -> Self {
        let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build_http();
        Self { client, out, bars }
    }

    /// Downloads a file unless it is there. Several attempts add to the same unfinished file.
    pub(crate) async fn fetch(&self, file: &File) -> Result<How> {
        let (path, part) = self.paths(file);
        if fs::try_exists(&path).await? && verify(&path, file).await.is_ok() {
            return Ok(How::WasThere);
        }
        let style = ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes} {msg}")?;
        let bar = self.bars.add(ProgressBar::no_length().with_style(style));
        bar.set_message(file.name.clone());

        let attempt = async || {
            let resumed = self.append(file, &part, &bar).await?;
            if let Err(error) = verify(&part, file).await {
                fs::remove_file(&part).await?;
                return Err(error);
            }
            Ok(resumed)
        };
        let pauses = ExponentialBuilder::default().with_min_delay(Duration::from_millis(50));
        let result = attempt.retry(pauses.with_max_times(4)).when(|error| !error.is::<Mismatch>());
        let result = result.await;
        self.bars.remove(&bar);
        let resumed = result?;
        let bytes = fs::metadata(&part).await?.len();
        fs::rename(&part, &path).await?;
        Ok(How::Fetched { bytes, resumed })
    }

    fn paths(&self, file: &File) -> (PathBuf, PathBuf) {
        (self.out.join(&file.name), self.out.join(format!("{}.part", file.name)))
    }

    /// Appends what is missing, and returns how much was there.
    async fn append(&self, file: &File, part: &Path, bar: &ProgressBar) -> Result<u64> {
        let mut there = fs::metadata(part).await.map_or(0, |data| data.len());
        let mut request = Request::get(&file.url);
        if there > 0 {
            request = request.header(RANGE, format!("bytes={there}-"));
        }
        let response = timeout(SILENCE, self.client.request(request.body(Empty::new())?)).await??;
        match response.status() {
            StatusCode::PARTIAL_CONTENT => {}
            // Nothing is missing.
            StatusCode::RANGE_NOT_SATISFIABLE if there > 0 => return Ok(there),
            // All of it, although a part was asked for.
            StatusCode::OK => there = 0,
            other => bail!("{other}"),
        }
        let length = response.headers().get(CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        bar.set_length(there + length.unwrap_or_default());
        bar.set_position(there);

        let mut out = fs::OpenOptions::new();
        let mut out =
            out.create(true).append(there > 0).write(true).truncate(there == 0).open(part).await?;
        let mut body = response.into_body();
        let copied: Result<()> = async {
            while let Some(frame) = timeout(SILENCE, body.frame()).await? {
                // A frame that is no data is a trailer.
                let data = frame?.into_data().unwrap_or_default();
                out.write_all(&data).await?;
                bar.inc(data.len() as u64);
            }
            Ok(())
        }
        .await;
        out.flush().await?; // what has come stays
        copied.map(|()| there)
    }
}

/// Compares the checksum, on a thread for blocking work.
async fn verify(path: &Path, file: &File) -> Result<()> {
    let Some(expected) = file.sha256.clone() else { return Ok(()) };
    let path = path.to_path_buf();
    let digest = tokio::task::spawn_blocking(move || {
        let mut hasher = Sha256::new();
        std::io::copy(&mut std::fs::File::open(path)?, &mut hasher)?;
        anyhow::Ok(format!("{:x}", hasher.finalize()))
    });
    ensure!(digest.await?? == expected, Mismatch);
    Ok(())
}
