//! Files to download, from three servers on loopback. Some of their answers break off, and some
//! fail at first.

use std::collections::HashSet;
use std::convert::Infallible;
use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use futures_util::stream::{self, BoxStream, StreamExt};
use http_body_util::StreamBody;
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::RANGE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::time::sleep;

const FILES: usize = 4;

/// The paths that were asked for once.
type Seen = Arc<Mutex<HashSet<String>>>;

/// Serves until the runtime ends, and returns the list of the files.
pub(crate) async fn serve() -> Result<String> {
    let mut list = String::new();
    for server in ["a", "b", "c"] {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address: SocketAddr = listener.local_addr()?;
        for n in 0..FILES {
            let name = format!("{server}{n}.bin");
            let digest = Sha256::digest(content(&name));
            writeln!(list, "http://{address}/{name} {digest:x}")?;
        }
        tokio::spawn(accept(listener));
    }
    Ok(list)
}

async fn accept(listener: TcpListener) {
    let seen = Seen::default();
    while let Ok((stream, _)) = listener.accept().await {
        let seen = Arc::clone(&seen);
        let service = service_fn(move |request| {
            let answer = answer(&request, &seen);
            async { Ok::<_, Infallible>(answer) }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

/// Returns the content of a file: some hundred kilobytes.
fn content(name: &str) -> Vec<u8> {
    let seed = name.bytes().fold(7_u32, |sum, byte| sum.wrapping_mul(31) + u32::from(byte));
    let bytes = (0_u32..).map(|n| (n.wrapping_mul(seed) >> 11) as u8);
    bytes.take(100_000 + (seed % 200_000) as usize).collect()
}

type Body = StreamBody<BoxStream<'static, Result<Frame<Bytes>, Broken>>>;

#[derive(Debug)]
struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("broken off")
    }
}

impl std::error::Error for Broken {}

fn answer(request: &Request<Incoming>, seen: &Seen) -> Response<Body> {
    let name = request.uri().path().trim_start_matches('/').to_string();
    let content = content(&name);
    let range = request.headers().get(RANGE).and_then(|range| range.to_str().ok());
    let from =
        range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    let is_first = seen.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone());

    let (status, mut parts) = match from {
        Some(from) if from >= content.len() => (StatusCode::RANGE_NOT_SATISFIABLE, Vec::new()),
        Some(from) => (StatusCode::PARTIAL_CONTENT, vec![content[from..].to_vec()]),
        None if is_first && name.ends_with("1.bin") => {
            (StatusCode::SERVICE_UNAVAILABLE, Vec::new())
        }
        None => (StatusCode::OK, content.chunks(30_000).map(<[u8]>::to_vec).collect()),
    };
    let breaks = status == StatusCode::OK && is_first && name.ends_with("2.bin");
    if breaks {
        parts.truncate(2);
    }
    let mut frames: Vec<_> = parts.into_iter().map(|part| Ok(Frame::data(part.into()))).collect();
    if breaks {
        frames.push(Err(Broken));
    }
    // At the pace of a network, so that what precedes a break is sent.
    let frames = stream::iter(frames).then(async |frame| {
        sleep(Duration::from_millis(2)).await;
        frame
    });
    let mut response = Response::new(StreamBody::new(frames.boxed()));
    *response.status_mut() = status;
    response
}
