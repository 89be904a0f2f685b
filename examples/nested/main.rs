//! Fetches all files of five servers: at most 4 at a time from each of them, and at most 8 at a
//! time in all.
//!
//! ```sh
//! cargo run --release --example nested
//! ```
//!
//! [`fetch_all`] and [`fetch_host`] are the part that uses errgroup: groups in a group. Each server
//! has a group with a limit, and all of these share a semaphore. A server that fails stops the
//! others, since their tokens are children of one token.
//!
//! The servers are real, on loopback; each serves a folder of this crate. `host.rs` is such a
//! server, and counts its requests at a time.

mod host;

use std::io;
use std::sync::Arc;

use errgroup::{CancelToken, Group};
use smol::lock::Semaphore;

use crate::host::{Gauge, Host, fetch};

/// The most files at a time from one server.
const OF_EACH: usize = 4;
/// The most files at a time from all of them.
const IN_ALL: usize = 8;

/// Fetches all files of all servers; returns the number of bytes of each server.
async fn fetch_all(hosts: &[Host]) -> io::Result<Vec<u64>> {
    let cap = Arc::new(Semaphore::new(IN_ALL));
    let mut group = Group::new().collect();
    for host in hosts {
        group.queue(fetch_host(host, &cap, group.token().clone()));
    }
    group.await
}

/// Fetches all files of a server; returns the number of bytes.
async fn fetch_host(host: &Host, cap: &Arc<Semaphore>, all: CancelToken) -> io::Result<u64> {
    let mut group = Group::unboxed()
        .with_parent(&all) // stops when another server fails
        .with_limit(OF_EACH)
        .with_semaphore(Arc::clone(cap))
        .collect();
    for path in &host.paths {
        if group.go(fetch(host.address, path)).await.is_err() {
            break; // it has stopped: no more work
        }
    }
    let sizes = group.await?;
    Ok(sizes.iter().sum())
}

fn main() -> io::Result<()> {
    smol::block_on(async {
        let gauge = Gauge::new();
        let mut hosts = Vec::new();
        for folder in ["benches", "docs", "examples", "src", "tests"] {
            hosts.push(Host::start(folder, &gauge).await?);
        }

        let bytes = fetch_all(&hosts).await?;

        println!("{:<10}{:>7}{:>10}{:>14}", "server", "files", "bytes", "at a time");
        for (host, bytes) in hosts.iter().zip(&bytes) {
            let (files, most) = (host.paths.len(), host.gauge.most());
            println!("{:<10}{files:>7}{bytes:>10}{most:>9} of {OF_EACH}", host.folder);
            assert_eq!(*bytes, host.bytes, "all of it");
            assert!(most <= OF_EACH, "too many of one");
        }
        let files: usize = hosts.iter().map(|host| host.paths.len()).sum();
        let (bytes, most) = (bytes.iter().sum::<u64>(), gauge.most());
        println!("{:<10}{files:>7}{bytes:>10}{most:>9} of {IN_ALL}", "in all");
        assert!(most <= IN_ALL, "too many in all");
        Ok(())
    })
}
