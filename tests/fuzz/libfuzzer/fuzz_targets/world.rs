//! A world of the bytes that libFuzzer finds.

#![no_main]

use std::panic::{catch_unwind, set_hook};
use std::process::abort;

libfuzzer_sys::fuzz_target!(init: {
    // libFuzzer's own hook ends the process at each panic. In a world, groups catch them.
    set_hook(Box::new(|_| {}));
}, |bytes: &[u8]| {
    if let Err(panic) = catch_unwind(|| fuzz::run(bytes, false)) {
        eprintln!("{}", panic.downcast_ref::<String>().map_or("?", |text| text));
        abort();
    }
});
