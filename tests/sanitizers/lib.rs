//! Nothing: a package needs a library or a program.
