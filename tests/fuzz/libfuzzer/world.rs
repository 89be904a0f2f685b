//! A world of the bytes that libfuzzer finds.

#![no_main]

use std::panic::{catch_unwind, set_hook};
use std::sync::Once;

static HOOK: Once = Once::new();

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // By default any panic ends the process. In a world they are caught.
    HOOK.call_once(|| set_hook(Box::new(|_| {})));
    if bytes.len() > 4096 {
        return;
    }
    let bytes = bytes.to_vec();
    if let Err(panic) = catch_unwind(move || fuzz::run(&bytes, false)) {
        eprintln!("{}", panic.downcast_ref::<String>().map_or("?", |text| text));
        std::process::abort();
    }
});
