//! A download manager that stops one download by its id.
//!
//! ```sh
//! cargo run --example downloads
//! ```
//!
//! It reads commands from its input: `start NAME KILOBYTES`, `stop ID`, `list`, `quit`. At the end
//! of the input it waits for the downloads that are left. At most two run at a time; the others
//! wait in the group's queue, and can be stopped there as well. The downloads are made up: one
//! kilobyte takes a millisecond.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use errgroup::{ChildHandle, Group, Handle, LocalBoxed, task};
use smol::io::{AsyncBufReadExt, BufReader};
use smol::stream::StreamExt;
use smol::{Timer, Unblock};

type Children = LocalBoxed<'static, (), io::Error>;

struct Download {
    name: String,
    /// How many kilobytes have come.
    loaded: Rc<Cell<u64>>,
    handle: ChildHandle<u64>,
}

/// The downloads by their ids, and the group that runs them.
struct Manager {
    group: Handle<Children>,
    downloads: BTreeMap<usize, Download>,
}

/// Loads so many kilobytes.
async fn load(kilobytes: u64, loaded: Rc<Cell<u64>>) -> io::Result<u64> {
    while loaded.get() < kilobytes {
        Timer::after(Duration::from_millis(1)).await;
        loaded.set(loaded.get() + 1);
    }
    Ok(kilobytes)
}

impl Manager {
    fn start(&mut self, name: &str, kilobytes: u64) {
        let (id, loaded) = (self.downloads.len() + 1, Rc::default());
        let (child, handle) = task(load(kilobytes, Rc::clone(&loaded))).joinable();
        // There is nothing to clean up when `quit` stops the group.
        self.group.queue(child.until_stop());
        println!("{id} {name}: starts");
        self.downloads.insert(id, Download { name: name.into(), loaded, handle });
    }

    fn stop(&self, id: usize) {
        match self.downloads.get(&id) {
            Some(download) if !download.handle.is_finished() => download.handle.abort(),
            _ => println!("{id}: there is no such download"),
        }
    }

    fn list(&self) {
        for (id, Download { name, loaded, handle }) in &self.downloads {
            let state = if handle.is_finished() { "over" } else { "loading" };
            println!("{id} {name}: {state}, {} kB", loaded.get());
        }
    }
}

/// Carries out commands until `quit` or the end of the input.
async fn manage(group: Handle<Children>) -> io::Result<BTreeMap<usize, Download>> {
    let mut manager = Manager { group, downloads: BTreeMap::new() };
    let mut lines = BufReader::new(Unblock::new(io::stdin())).lines();
    while let Some(line) = lines.next().await {
        match line?.split_whitespace().collect::<Vec<_>>()[..] {
            ["start", name, size] if size.parse::<u64>().is_ok() => {
                manager.start(name, size.parse().unwrap_or_default());
            }
            ["stop", id] => manager.stop(id.parse().unwrap_or_default()),
            ["list"] => manager.list(),
            ["quit"] => {
                manager.group.token().cancel();
                break;
            }
            _ => println!("start NAME KILOBYTES, stop ID, list, or quit"),
        }
    }
    Ok(manager.downloads)
}

fn main() -> io::Result<()> {
    smol::block_on(async {
        // The downloads go on while the body waits for a command.
        let downloads = Group::local().with_limit(2).try_scope(manage).await?;
        for (id, Download { name, loaded, handle }) in downloads {
            match handle.await {
                Ok(kilobytes) => println!("{id} {name}: {kilobytes} kB"),
                Err(lost) => println!("{id} {name}: {lost}, after {} kB", loaded.get()),
            }
        }
        Ok(())
    })
}
