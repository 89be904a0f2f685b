//! A group's first parameter is the kind of its children, not their error.

use errgroup::Group;

struct Downloads {
    _group: Group<String>,
}

fn main() {}
