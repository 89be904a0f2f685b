//! The index of `docs/coming-from/` agrees with its pages: the sections exist, and their functions
//! have as many lines as it says.

use std::collections::HashMap;

const INDEX: &str = include_str!("../../docs/coming-from.md");
const PAGES: [(&str, &str); 3] = [
    ("coming-from/go.md", include_str!("../../docs/coming-from/go.md")),
    ("coming-from/rust.md", include_str!("../../docs/coming-from/rust.md")),
    ("coming-from/elsewhere.md", include_str!("../../docs/coming-from/elsewhere.md")),
];

/// Returns what a link to a heading has after the `#`.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

/// Returns the lines of code in each item of the examples, by the page's sections.
///
/// In all the languages an item begins at the margin, and its body is indented.
fn sections(page: &str) -> HashMap<String, Vec<usize>> {
    let mut sections = HashMap::new();
    let (mut heading, mut in_code) = (String::new(), false);
    for line in page.lines() {
        if line.starts_with("```") {
            in_code = !in_code;
        } else if let Some(text) = line.strip_prefix("## ").filter(|_| !in_code) {
            heading = anchor(text);
            sections.insert(heading.clone(), Vec::new());
        } else if in_code && !line.trim().is_empty() {
            let items = sections.get_mut(&heading).expect("code is below a heading");
            let is_comment = line.trim_start().starts_with("//");
            match items.last_mut() {
                Some(lines) if line.starts_with([' ', '\t']) => *lines += usize::from(!is_comment),
                _ => items.push(0),
            }
        }
    }
    sections
}

/// Returns the rows that link to a page: the anchor and the row's last cell.
fn rows(page: &str) -> Vec<(&'static str, &'static str)> {
    let link = format!("]({page}#");
    let row = |line: &'static str| {
        let (_, rest) = line.split_once(&link)?;
        let (anchor, rest) = rest.split_once(')')?;
        Some((anchor, rest.trim_matches([' ', '|'])))
    };
    INDEX.lines().filter_map(row).collect()
}

#[test]
fn the_index_links_to_every_section_and_to_no_missing_one() {
    for (page, text) in PAGES {
        let (sections, rows) = (sections(text), rows(page));
        for (anchor, _) in &rows {
            assert!(sections.contains_key(*anchor), "{page} has no section #{anchor}");
        }
        for anchor in sections.keys() {
            assert!(rows.iter().any(|row| row.0 == anchor), "no row leads to {page}#{anchor}");
        }
    }
}

#[test]
fn the_index_counts_the_lines_of_the_pages() {
    for (page, text) in PAGES {
        let sections = sections(text);
        for (anchor, lines) in rows(page) {
            let counts = &sections[anchor];
            for number in lines.split(|c: char| !c.is_ascii_digit()).filter(|n| !n.is_empty()) {
                let number = number.parse().unwrap();
                assert!(
                    counts.contains(&number),
                    "{page}#{anchor} has no function of {number} lines, but {counts:?}",
                );
            }
        }
    }
}

#[test]
fn the_pages_link_to_their_own_sections() {
    for (page, text) in PAGES {
        let sections = sections(text);
        let inline = text.split("](#").skip(1).filter_map(|rest| rest.split(')').next());
        let below = text.split("]: #").skip(1).filter_map(|rest| rest.lines().next());
        for anchor in inline.chain(below) {
            assert!(sections.contains_key(anchor), "{page} has no section #{anchor}");
        }
    }
}
