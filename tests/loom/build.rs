//! Leaves the unit tests out of the sources that are compiled into the model: they know no loom.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(loom)");
    println!("cargo::rustc-cfg=loom");
}
