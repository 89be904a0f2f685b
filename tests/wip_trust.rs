#[path = "it/common.rs"]
#[allow(dead_code)]
mod common;
#[path = "it/hostile.rs"]
mod hostile;
