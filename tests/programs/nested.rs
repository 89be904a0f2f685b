//! The example `nested`, started as a program.

use std::process::Command;

use crate::program;

#[test]
fn the_example_fetches_everything_and_keeps_each_limit_and_the_shared_cap() {
    let output = Command::new(program("nested")).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));

    let lines: Vec<Vec<&str>> =
        said.lines().map(|line| line.split_whitespace().collect()).collect();
    let [_, hosts @ .., all] = &lines[..] else { panic!("{said}") };
    let number = |word: &str| word.parse::<usize>().unwrap();
    let folders: Vec<&str> = hosts.iter().map(|line| line[0]).collect();
    assert_eq!(folders, ["benches", "docs", "examples", "src", "tests"]);
    for line in hosts {
        let [_, files, bytes, most, "of", limit] = line[..] else { panic!("{said}") };
        assert_eq!(limit, "4");
        assert!((1..=4).contains(&number(most)), "{said}");
        assert!(number(files) > 0 && number(bytes) > 0);
    }
    let ["in", "all", files, bytes, most, "of", "8"] = all[..] else { panic!("{said}") };
    assert!((1..=8).contains(&number(most)), "{said}");
    let sum = |at: usize| hosts.iter().map(|line| number(line[at])).sum::<usize>();
    assert_eq!((number(files), number(bytes)), (sum(1), sum(2)));
}
