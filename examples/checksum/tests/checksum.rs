//! The example `checksum`, started as a program on trees made for it.
#![cfg(target_os = "linux")]

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

const OF_NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const OF_ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

fn checksum<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Output {
    Command::new(env!("CARGO_BIN_EXE_checksum")).args(args).output().unwrap()
}

/// Makes a tree of these files, each with its content.
fn tree<N: AsRef<OsStr>>(files: impl IntoIterator<Item = (N, &'static str)>) -> TempDir {
    let root = TempDir::new().unwrap();
    for (name, content) in files {
        let path = root.path().join(name.as_ref());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    root
}

/// Returns what is printed for files that all hold "abc".
fn lines_of_abc<N: AsRef<str>>(root: &TempDir, names: impl IntoIterator<Item = N>) -> String {
    let root = root.path().display();
    names.into_iter().map(|name| format!("{OF_ABC}  {root}/{}\n", name.as_ref())).collect()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

#[track_caller]
fn assert_succeeded(output: &Output) {
    assert_eq!((stderr(output), output.status.code()), ("", Some(0)));
}

/// Asserts that it complains in one line and prints nothing.
#[track_caller]
fn assert_bad_input(output: &Output, about: &str) {
    assert_eq!((stdout(output), output.status.code()), ("", Some(2)));
    let line = stderr(output);
    assert!(line.contains(about) && line.ends_with('\n') && line.lines().count() == 1, "{line}");
}

// === the peer ===

/// Returns `true` if there is a `sha256sum` to compare with.
fn has_sha256sum() -> bool {
    let version = Command::new("sha256sum").arg("--version").output();
    let version = version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    version.is_ok_and(|version| {
        let release = version.split_once("(GNU coreutils) ").map_or("0", |(_, rest)| rest);
        release.split('.').next().is_some_and(|major| major.parse().is_ok_and(|it: u32| it >= 9))
    })
}

/// Returns what `sha256sum` prints for all files below `root`, in the order of their paths' bytes.
fn by_sha256sum(root: &Path) -> Vec<u8> {
    fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => collect(&entry.path(), files),
                kind if kind.is_file() => files.push(entry.path()),
                _ => {}
            }
        }
    }
    let mut files = Vec::new();
    collect(root, &mut files);
    files.sort_by(|a, b| a.as_os_str().as_bytes().cmp(b.as_os_str().as_bytes()));
    let output = Command::new("sha256sum").args(files).output().unwrap();
    assert_succeeded(&output);
    output.stdout
}

/// Lets `sha256sum --check` read what was printed.
fn check(printed: &[u8]) -> Output {
    let mut check = Command::new("sha256sum")
        .args(["--check", "--quiet", "--strict"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    check.stdin.take().unwrap().write_all(printed).unwrap();
    check.wait_with_output().unwrap()
}

fn odd_tree() -> TempDir {
    let names: [&[u8]; 16] = [
        b"plain",
        b"empty",
        b"with space",
        b" leading and trailing ",
        b"back\\slash",
        b"new\nline",
        b"carriage\rreturn",
        b"tab\tbell\x07",
        b"all \\ of\n them\r",
        b"latin-1: \xe9\xff",
        "unicode: \u{e9}\u{1f980}".as_bytes(),
        b"-dash",
        b"*star",
        b"\\",
        b"fol\\der\n/fol der/file",
        b".hidden/.file",
    ];
    let content = |name| if name == b"empty" { "" } else { "some content" };
    tree(names.map(|name| (OsStr::from_bytes(name), content(name))))
}

#[test]
fn prints_what_sha256sum_prints_whatever_the_names() {
    let root = odd_tree();
    let output = checksum([root.path()]);
    assert_succeeded(&output);
    assert_eq!(output.stdout.split(|&byte| byte == b'\n').count(), 17);
    if has_sha256sum() {
        let (ours, theirs) = (output.stdout.escape_ascii(), by_sha256sum(root.path()));
        assert_eq!(ours.to_string(), theirs.escape_ascii().to_string());
        assert_succeeded(&check(&output.stdout));
    }
}

#[test]
fn sha256sum_finds_a_file_that_has_changed() {
    if !has_sha256sum() {
        return;
    }
    let root = odd_tree();
    let output = checksum([root.path()]);
    fs::write(root.path().join("back\\slash"), "other content").unwrap();
    let checked = check(&output.stdout);
    assert_eq!(checked.status.code(), Some(1));
    assert!(stdout(&checked).contains("slash: FAILED"), "{}", stdout(&checked));
}

// === what is printed ===

#[test]
fn escapes_names_as_coreutils_9_does() {
    let root = tree([("a\\b", ""), ("c\nd", ""), ("e\rf", ""), ("g", "abc")]);
    let output = checksum([root.path()]);
    assert_succeeded(&output);
    let at = root.path().display();
    let expected = format!(
        "\\{OF_NOTHING}  {at}/a\\\\b\n\
         \\{OF_NOTHING}  {at}/c\\nd\n\
         \\{OF_NOTHING}  {at}/e\\rf\n\
         {OF_ABC}  {at}/g\n"
    );
    assert_eq!(stdout(&output), expected);
}

/// `a/` comes behind `a b` and `a.txt`, because its files' paths have the slash there.
#[test]
fn orders_by_the_bytes_of_the_whole_path() {
    let names = ["a b", "a-", "a.txt", "a/1", "a/1.d/2", "a/12/x", "a/B", "a/b", "a0", "a0.d/x"];
    for limit in ["1", "3", "100"] {
        let root = tree(names.map(|name| (name, "abc")));
        let output = checksum([OsStr::new("--limit"), OsStr::new(limit), root.path().as_ref()]);
        assert_succeeded(&output);
        assert_eq!(stdout(&output), lines_of_abc(&root, names));
    }
}

/// A long file comes first: the others are done before it and wait for it.
#[test]
fn prints_in_order_even_if_the_first_file_ends_last() {
    let names: Vec<_> = (100..400).map(|n| format!("d{}/{n}", n / 50)).collect();
    let root = tree(names.iter().map(|name| (name, "abc")));
    fs::write(root.path().join("a"), vec![0; 4 << 20]).unwrap();
    let output = checksum([root.path()]);
    assert_succeeded(&output);
    let (first, rest) = stdout(&output).split_once('\n').unwrap();
    assert!(first.ends_with("/a"), "{first}");
    assert_eq!(rest, lines_of_abc(&root, &names));
}

#[test]
fn does_not_follow_links_and_skips_what_is_not_a_file() {
    let root = tree([("file", "abc"), ("folder/file", "abc")]);
    symlink("file", root.path().join("link")).unwrap();
    symlink("nowhere", root.path().join("dangling")).unwrap();
    symlink("folder", root.path().join("link to a folder")).unwrap();
    symlink("..", root.path().join("folder/loop")).unwrap();
    let _socket = UnixListener::bind(root.path().join("socket")).unwrap();
    let output = checksum([root.path()]);
    assert_succeeded(&output);
    assert_eq!(stdout(&output), lines_of_abc(&root, ["file", "folder/file"]));
}

#[test]
fn takes_a_folder_without_files() {
    let root = TempDir::new().unwrap();
    fs::create_dir(root.path().join("empty")).unwrap();
    let output = checksum([root.path()]);
    assert_succeeded(&output);
    assert_eq!(stdout(&output), "");
}

#[test]
fn takes_a_file_and_a_link_to_one() {
    let root = tree([("file", "abc")]);
    symlink("file", root.path().join("link")).unwrap();
    for name in ["file", "link"] {
        let output = checksum([root.path().join(name)]);
        assert_succeeded(&output);
        assert_eq!(stdout(&output), lines_of_abc(&root, [name]));
    }
}

#[test]
fn names_files_as_the_folder_was_named() {
    let root = tree([("folder/file", "abc")]);
    for (given, shown) in [(".", "./folder"), ("folder", "folder"), ("folder/", "folder")] {
        let output = Command::new(env!("CARGO_BIN_EXE_checksum"))
            .arg(given)
            .current_dir(&root)
            .output()
            .unwrap();
        assert_succeeded(&output);
        assert_eq!(stdout(&output), format!("{OF_ABC}  {shown}/file\n"));
    }
}

#[test]
fn skips_the_file_that_it_writes() {
    let root = tree([("a", "abc"), ("z", "abc")]);
    let sums = root.path().join("sums");
    let output = fs::File::create(&sums).unwrap();
    let ended = Command::new(env!("CARGO_BIN_EXE_checksum"))
        .arg(root.path())
        .stdout(output)
        .status()
        .unwrap();
    assert!(ended.success());
    assert_eq!(fs::read_to_string(sums).unwrap(), lines_of_abc(&root, ["a", "z"]));
}

#[test]
fn takes_the_current_folder_without_an_argument() {
    // One line is enough: a build folder in here may hold a lot, and it changes.
    let mut command = Command::new(env!("CARGO_BIN_EXE_checksum"));
    let mut run = command.args(["--limit", "1"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(run.stdout.take().unwrap()).read_line(&mut first).unwrap();
    run.wait().unwrap();
    let (digest, path) = first.trim_end().split_once("  ").unwrap();
    assert_eq!(digest.len(), 64);
    assert!(path.starts_with("./"), "{path}");
    assert!(Path::new(path).is_file(), "{path}");
}

// === bad input ===

#[test]
fn refuses_bad_input_in_one_line() {
    assert_bad_input(&checksum(["--limit", "0"]), "--limit");
    assert_bad_input(&checksum(["--limit", "many"]), "--limit");
    assert_bad_input(&checksum(["--limit", "-1"]), "-1");
    assert_bad_input(&checksum(["--fast"]), "--fast");
    assert_bad_input(&checksum(["."; 2]), "unexpected");
    let root = TempDir::new().unwrap();
    assert_bad_input(&checksum([root.path().join("no such\nfolder")]), "no such\\nfolder: No such");
}

// === what can't be read ===

/// Runs the program as a user that, unlike root, may not read everything.
fn checksum_unprivileged(root: &TempDir, args: &[&str]) -> Output {
    const UNPRIVILEGED: u32 = 65534;
    let mut command = Command::new("timeout");
    command.arg("60").current_dir("/");
    let elsewhere = TempDir::new().unwrap();
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        // That user may have no access to the build folder, so the program is copied. If this
        // process copied it, it could be "busy": open for writing in the child of another test.
        for folder in [root, &elsewhere] {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let copied = Command::new("cp")
            .arg(env!("CARGO_BIN_EXE_checksum"))
            .arg(elsewhere.path())
            .status()
            .unwrap();
        assert!(copied.success());
        command.arg(elsewhere.path().join("checksum")).uid(UNPRIVILEGED).gid(UNPRIVILEGED);
    } else {
        command.arg(env!("CARGO_BIN_EXE_checksum"));
    }
    command.args(args).arg(root.path()).output().unwrap()
}

fn forbid(root: &TempDir, name: &str) {
    fs::set_permissions(root.path().join(name), fs::Permissions::from_mode(0o000)).unwrap();
}

fn allow(root: &TempDir, name: &str) {
    fs::set_permissions(root.path().join(name), fs::Permissions::from_mode(0o755)).unwrap();
}

fn denied(root: &TempDir, name: &str) -> String {
    let path = root.path().join(name);
    format!("checksum: {}: Permission denied (os error 13)\n", path.display())
}

#[test]
fn stops_at_the_first_file_that_it_cannot_read() {
    let names: Vec<_> = (100..200).map(|n| n.to_string()).collect();
    for limit in ["1", "8"] {
        let root = tree(names.iter().map(|name| (name, "abc")));
        forbid(&root, "150");
        let output = checksum_unprivileged(&root, &["--limit", limit]);
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(stderr(&output), denied(&root, "150"));
        let before = lines_of_abc(&root, &names[..50]);
        assert!(before.starts_with(stdout(&output)), "not a prefix: {}", stdout(&output));
        if limit == "1" {
            assert_eq!(stdout(&output), before);
        }
    }
}

/// A file that takes hours is being read when another fails: the program does not wait for it.
#[test]
fn stops_in_the_middle_of_a_long_file() {
    let root = tree([("b", "abc")]);
    fs::File::create(root.path().join("a")).unwrap().set_len(256 << 30).unwrap();
    forbid(&root, "b");
    let output = checksum_unprivileged(&root, &["--limit", "2"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!((stdout(&output), stderr(&output)), ("", denied(&root, "b").as_str()));
}

#[test]
fn continues_past_unreadable_files_and_lists_them_at_the_end() {
    let names: Vec<_> = (100..200).map(|n| n.to_string()).collect();
    let root = tree(names.iter().map(|name| (name, "abc")));
    fs::create_dir(root.path().join("130.d")).unwrap();
    for name in ["100", "130.d", "170", "199"] {
        forbid(&root, name);
    }
    let output = checksum_unprivileged(&root, &["--keep-going", "--limit", "8"]);
    allow(&root, "130.d");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        stderr(&output),
        ["100", "130.d", "170", "199"].map(|it| denied(&root, it)).concat()
    );
    let readable = names.iter().filter(|it| !["100", "170", "199"].contains(&it.as_str()));
    assert_eq!(stdout(&output), lines_of_abc(&root, readable));
}

#[test]
fn stops_at_a_folder_that_it_cannot_read() {
    let root = tree([("a", "abc"), ("b/c", "abc"), ("d", "abc")]);
    forbid(&root, "b");
    let output = checksum_unprivileged(&root, &["--limit", "1"]);
    allow(&root, "b");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stderr(&output), denied(&root, "b"));
    assert_eq!(stdout(&output), lines_of_abc(&root, ["a"]));
}

#[test]
fn names_the_file_that_fails_to_read() {
    // Nothing is mapped at its beginning.
    let output = checksum(["/proc/self/mem"]);
    assert_eq!((stdout(&output), output.status.code()), ("", Some(1)));
    assert_eq!(stderr(&output), "checksum: /proc/self/mem: Input/output error (os error 5)\n");
}

#[test]
fn reports_a_full_disk() {
    let root = tree([("a", "abc"), ("b", "abc")]);
    for args in [&["--keep-going"][..], &[]] {
        let full = fs::File::create("/dev/full").unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_checksum"));
        let output = command.args(args).arg(root.path()).stdout(full).stderr(Stdio::piped());
        let output = output.spawn().unwrap().wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(
            stderr(&output),
            "checksum: the output: No space left on device (os error 28)\n"
        );
    }
}

// === large files, long outputs ===

/// Makes a tree of more lines than a pipe holds, so that the program waits for a reader. The first
/// is the line of a file of 32 MiB.
fn large_tree() -> TempDir {
    let folder = "folder".repeat(40);
    let root = tree((0..300).map(|n| (format!("{folder}/{folder}/{n}"), "abc")));
    fs::File::create(root.path().join("a")).unwrap().set_len(32 << 20).unwrap();
    root
}

#[test]
fn uses_little_memory_for_a_large_file_and_exits_quietly_when_its_pipe_closes() {
    let root = large_tree();
    let mut run = Command::new(env!("CARGO_BIN_EXE_checksum"))
        .arg(root.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut reader = BufReader::with_capacity(64, run.stdout.take().unwrap());
    let mut first = String::new();
    reader.read_line(&mut first).unwrap();
    let of_32_mib_of_zeros = "83ee47245398adee79bd9c0a8bc57b821e92aba10f5f9ade8a5d1fae4d8c4302";
    assert_eq!(first, format!("{of_32_mib_of_zeros}  {}/a\n", root.path().display()));

    // It is alive, because it can't write its other lines.
    let status = fs::read_to_string(format!("/proc/{}/status", run.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().strip_suffix(" kB").unwrap().parse().unwrap();
    assert!(peak < 20 << 10, "{peak} KiB for a file of 32 MiB");

    drop(reader);
    let mut complaints = String::new();
    run.stderr.take().unwrap().read_to_string(&mut complaints).unwrap();
    assert_eq!((complaints.as_str(), run.wait().unwrap().code()), ("", Some(0)));
}
