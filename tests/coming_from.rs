//! The index of `docs/coming-from` says how many lines a job takes: here they are counted again.

use std::fs;

/// The pages whose every section has a row of its own, with its lines.
const COUNTED: [&str; 1] = ["coming-from/go.md"];

#[test]
fn every_row_leads_to_a_section_and_has_its_lines() {
    let rows = rows(&read("coming-from.md"));
    for (page, anchor, lines) in &rows {
        let text = read(page);
        let section = sections(&text).find(|(title, _)| slug(title) == *anchor);
        let (_, section) = section.unwrap_or_else(|| panic!("{page} has no section #{anchor}"));
        if COUNTED.contains(&&**page) {
            assert_eq!(*lines, count(section), "lines of {page}#{anchor}");
        }
    }
    for page in COUNTED {
        let text = read(page);
        for (title, _) in sections(&text) {
            let has_row = rows.iter().any(|row| row.0 == page && row.1 == slug(title));
            assert!(has_row, "{page}: {title:?} has no row");
        }
    }
}

fn read(page: &str) -> String {
    let path = format!("{}/docs/{page}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The page and the anchor that a row links to, and its last cell.
fn rows(index: &str) -> Vec<(String, String, String)> {
    let row = |line: &str| {
        let cells: Vec<_> = line.strip_prefix('|')?.split('|').map(str::trim).collect();
        let link = line.split("](").nth(1)?.split(')').next()?;
        let (page, anchor) = link.split_once('#')?;
        Some((page.into(), anchor.into(), cells.iter().rev().nth(1)?.to_string()))
    };
    index.lines().filter_map(row).collect()
}

fn sections(page: &str) -> impl Iterator<Item = (&str, &str)> {
    page.split("\n## ").skip(1).filter_map(|section| section.split_once('\n'))
}

/// What the anchor of a title is on GitHub.
fn slug(title: &str) -> String {
    let kept = title.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

/// As the column has it: theirs / ours, each the body of the first function of its snippet.
fn count(section: &str) -> String {
    let body = |language| {
        let code = section.split(language).nth(1)?.split("```").next()?;
        let is_head =
            |line: &&str| ["func ", "fn ", "async fn "].iter().any(|f| line.starts_with(f));
        let body = code.lines().skip_while(|line| !is_head(line)).skip_while(|l| !l.ends_with('{'));
        let lines = body.skip(1).take_while(|line| !line.starts_with('}'));
        Some(lines.filter(|line| line.contains(|c: char| !")]};, \t".contains(c))).count())
    };
    let count = |language| body(language).expect("a snippet in each language").to_string();
    format!("{} / {}", count("```go\n"), count("```rust\n"))
}
