//! Finds the files, and writes their names.

use std::borrow::Cow;
use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_lock::{Semaphore, SemaphoreGuardArc};
use blocking::Unblock;
use futures_lite::{Stream, StreamExt};
use walkdir::{DirEntry, WalkDir};

use crate::report;

/// How many files may be ahead of the file of the next line. However long that file takes, what is
/// kept of the others is bounded.
const AHEAD: usize = 1 << 16;

/// How many files the walk may be ahead of the group.
const WALKED: usize = 256;

/// A file to digest, and its permit to be ahead.
pub(crate) struct FoundFile {
    pub(crate) path: PathBuf,
    /// Dropped when the file's line is printed.
    pub(crate) permit: SemaphoreGuardArc,
}

/// Returns the files below `root`, or `root` itself if it is no folder, in path order. An error
/// takes the place of each folder that can't be read.
///
/// A thread walks the tree. It keeps the folders from `root` down to the current one, each with
/// its entries, which have to be sorted.
pub(crate) fn below(root: PathBuf) -> impl Stream<Item = anyhow::Result<FoundFile>> {
    let output = report::output_file();
    let entries = WalkDir::new(root).sort_by(|a, b| rank(a).cmp(rank(b)));
    let paths = entries.into_iter().filter_map(move |entry| match entry {
        Ok(entry) => is_wanted(&entry, output.as_ref()).then(|| Ok(entry.into_path())),
        Err(error) => Some(Err(unreadable(error))),
    });
    let ahead = Arc::new(Semaphore::new(AHEAD));
    Unblock::with_capacity(WALKED, paths).then(move |path| {
        let permit = ahead.acquire_arc();
        async move { Ok(FoundFile { path: path?, permit: permit.await }) }
    })
}

/// Returns what orders the entries of a folder, so that all files come out in path order. A folder
/// ranks as the paths below it do, in which a slash follows its name.
fn rank(entry: &DirEntry) -> impl Iterator<Item = &u8> {
    let slash: &[u8] = if entry.file_type().is_dir() { b"/" } else { b"" };
    entry.file_name().as_encoded_bytes().iter().chain(slash)
}

/// Returns `true` if the entry is to be digested: the path of the command line unless it is a
/// folder, and regular files below it, but not the file that the output goes to.
fn is_wanted(entry: &DirEntry, output: Option<&Metadata>) -> bool {
    if entry.depth() == 0 {
        return !entry.path().is_dir();
    }
    let is_output = |output| entry.metadata().is_ok_and(|own| report::is_same(&own, output));
    entry.file_type().is_file() && !output.is_some_and(is_output)
}

fn unreadable(error: walkdir::Error) -> anyhow::Error {
    let path = error.path().map(shown).unwrap_or_default();
    let cause = error.into_io_error().unwrap_or_else(|| io::Error::other("a loop of links"));
    anyhow::Error::from(cause).context(path)
}

/// Returns a path's bytes as `sha256sum` writes them; owned if any had to be escaped.
pub(crate) fn escaped(path: &Path) -> Cow<'_, [u8]> {
    let bytes = path.as_os_str().as_encoded_bytes();
    let escape = |byte| match byte {
        b'\\' => Some(b'\\'),
        b'\n' => Some(b'n'),
        b'\r' => Some(b'r'),
        _ => None,
    };
    if !bytes.iter().any(|&byte| escape(byte).is_some()) {
        return Cow::Borrowed(bytes);
    }
    let mut written = Vec::new();
    for &byte in bytes {
        match escape(byte) {
            Some(letter) => written.extend([b'\\', letter]),
            None => written.push(byte),
        }
    }
    Cow::Owned(written)
}

/// Returns a path for a message, on one line whatever its name.
pub(crate) fn shown(path: &Path) -> String {
    String::from_utf8_lossy(&escaped(path)).into_owned()
}
