//! A server of files and its client, with a minimum of HTTP.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use smol::Timer;
use smol::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use smol::net::{TcpListener, TcpStream};
use walkdir::WalkDir;

/// How long a server takes to begin its answer, as if it were far away.
const DISTANCE: Duration = Duration::from_millis(2);

/// A server that serves a folder of this crate.
pub(crate) struct Host {
    pub(crate) folder: &'static str,
    pub(crate) address: SocketAddr,
    /// The files it has, and their bytes in all.
    pub(crate) paths: Vec<String>,
    pub(crate) bytes: u64,
    pub(crate) gauge: Gauge,
}

/// Counts requests at a time.
#[derive(Clone, Default)]
pub(crate) struct Gauge(Arc<[AtomicUsize; 2]>);

struct Entered(Gauge);

// === impl Gauge ===

impl Gauge {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Returns the most requests that there were at a time.
    pub(crate) fn most(&self) -> usize {
        self.0[1].load(Ordering::SeqCst)
    }

    fn enter(&self) -> Entered {
        let now = self.0[0].fetch_add(1, Ordering::SeqCst) + 1;
        self.0[1].fetch_max(now, Ordering::SeqCst);
        Entered(self.clone())
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.0[0].fetch_sub(1, Ordering::SeqCst);
    }
}

// === impl Host ===

impl Host {
    /// Starts a server that counts its requests for itself and, in `all`, for all servers.
    pub(crate) async fn start(folder: &'static str, all: &Gauge) -> io::Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (mut paths, mut bytes) = (Vec::new(), 0);
        for file in WalkDir::new(root.join(folder)).sort_by_file_name() {
            let file = file?;
            if file.file_type().is_file() {
                bytes += file.metadata()?.len();
                let path = file.path().strip_prefix(root).expect("below the root");
                paths.push(path.to_string_lossy().into_owned());
            }
        }
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let gauges = [Gauge::new(), all.clone()];
        let gauge = gauges[0].clone();
        smol::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A client that gets no answer reports that itself.
                smol::spawn(serve(stream, root, gauges.clone())).detach();
            }
        })
        .detach();
        Ok(Self { folder, address, paths, bytes, gauge })
    }
}

/// Answers one request.
async fn serve(mut stream: TcpStream, root: &Path, gauges: [Gauge; 2]) -> io::Result<()> {
    let mut request = String::new();
    BufReader::new(&mut stream).read_line(&mut request).await?;
    let entered = gauges.each_ref().map(Gauge::enter);
    Timer::after(DISTANCE).await;
    let path: Option<PathBuf> = request.split(' ').nth(1).map(|path| root.join(path));
    let content = match path {
        Some(path) => smol::fs::read(path).await,
        None => Err(io::ErrorKind::InvalidInput.into()),
    };
    // The request counts no longer when the client gets its answer.
    drop(entered);
    match content {
        Ok(content) => {
            let head = format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n", content.len());
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(&content).await?;
        }
        Err(error) => {
            stream.write_all(format!("HTTP/1.0 404 {error}\r\n\r\n").as_bytes()).await?;
        }
    }
    stream.close().await
}

/// Fetches a file, and returns its length.
pub(crate) async fn fetch(address: SocketAddr, path: &str) -> io::Result<u64> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await?;
    let mut answer = BufReader::new(stream);
    let mut status = String::new();
    answer.read_line(&mut status).await?;
    if !status.starts_with("HTTP/1.0 200 ") {
        return Err(io::Error::other(format!("{path}: {}", status.trim_end())));
    }
    // The head ends with an empty line.
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        if answer.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let mut content = Vec::new();
    answer.read_to_end(&mut content).await?;
    Ok(content.len() as u64)
}
