//! The HTTP server: a child of the program's group, with a group of its own.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use anyhow::Context;
use errgroup::{Boxed, CancelToken, Group};
use futures_util::{Stream, stream};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use crate::{Cause, complain, say};

/// How many connections may be open. Further ones wait in the kernel's queue, unaccepted.
pub(crate) const MOST_CONNECTIONS: usize = 256;

/// How long a client may take for a request's head, so that a silent one does not keep its room.
const HEAD: Duration = Duration::from_secs(10);

/// The group of the connections. They never fail: an error of one is no reason to stop the others.
pub(crate) type Connections = Group<Boxed<'static, (), Infallible>>;

pub(crate) async fn listen(port: u16) -> anyhow::Result<TcpListener> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}

/// Serves until the token is cancelled, and then for at most `grace`.
pub(crate) async fn run(
    mut connections: Connections,
    listener: TcpListener,
    token: CancelToken,
    grace: Duration,
) -> Result<(), Cause> {
    // Ends when the token stops the group; the listener is dropped with the stream.
    connections.feed(accept(listener, token)).await;
    // Each connection now ends as soon as it can. When the time is up, the group is dropped with
    // the connections that are left; its statistics tell how many.
    let _ = timeout(grace, connections).await;
    Ok(())
}

/// Accepts connections: a stream of children, which the group asks only when it has room.
fn accept(
    listener: TcpListener,
    token: CancelToken,
) -> impl Stream<Item = impl Future<Output = Result<(), Infallible>> + Send> + Send {
    stream::unfold((listener, token), async |(listener, token)| {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let child = connection(stream, peer, token.clone());
                    return Some((child, (listener, token)));
                }
                // The client was gone before it was accepted.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                // An error such as too many open files; it may pass.
                Err(error) => {
                    complain(&format!("cannot accept: {error}"));
                    sleep(Duration::from_secs(1)).await;
                }
            }
        }
    })
}

/// Answers the requests of one connection, until the client or the token ends it.
async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    token: CancelToken,
) -> Result<(), Infallible> {
    let service = service_fn(|request| answer(request, peer, &token));
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .serve_connection(TokioIo::new(stream), service)
    );
    let result = match token.run(connection.as_mut()).await {
        Ok(result) => result,
        // An idle connection ends at once, another one after its answer.
        Err(_cancelled) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        say(format_args!("{peer}: {error}"));
    }
    Ok(())
}

async fn answer(
    request: Request<Incoming>,
    peer: SocketAddr,
    token: &CancelToken,
) -> Result<Response<Full<Bytes>>, Infallible> {
    say(format_args!("{peer}: {} {}", request.method(), request.uri()));
    let uri = request.uri();
    let (status, text) = match (request.method(), uri.path()) {
        (&Method::GET, "/") => (StatusCode::OK, "hello\n".into()),
        (&Method::GET, "/slow") => match milliseconds(uri.query()) {
            Some(ms) => {
                sleep(Duration::from_millis(ms)).await;
                (StatusCode::OK, format!("after {ms} ms\n"))
            }
            None => (StatusCode::BAD_REQUEST, "how slow? /slow?ms=N\n".into()),
        },
        (&Method::GET, "/shutdown") => {
            Cause::Request(peer).cancel(token);
            (StatusCode::OK, "ending\n".into())
        }
        (_, "/" | "/slow" | "/shutdown") => (StatusCode::METHOD_NOT_ALLOWED, "GET it\n".into()),
        _ => (StatusCode::NOT_FOUND, "not here\n".into()),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    Ok(response)
}

/// Returns the `N` of `ms=N` in a query, or `None` if there is none.
fn milliseconds(query: Option<&str>) -> Option<u64> {
    let mut pairs = query?.split('&');
    pairs.find_map(|pair| pair.strip_prefix("ms="))?.parse().ok()
}
