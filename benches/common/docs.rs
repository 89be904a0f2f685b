//! The files that `--docs` writes.

use std::fs;
use std::path::PathBuf;

use anyhow::Context;

pub(crate) fn path(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs").join(file)
}

pub(crate) fn write(file: &str, text: &str) -> anyhow::Result<()> {
    let path = path(file);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("can't make {}", folder.display()))?;
    }
    fs::write(&path, text).with_context(|| format!("can't write {}", path.display()))
}
