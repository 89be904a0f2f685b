//! The links of an HTML page.

use html5gum::emitters::default::DefaultEmitter;
use html5gum::{StartTag, Token, Tokenizer};

/// The links of a page, as they are written there.
#[derive(Default)]
pub(crate) struct Links {
    /// The URL they are relative to, if the page has one.
    pub(crate) base: Option<String>,
    pub(crate) hrefs: Vec<String>,
}

/// Finds the `href` of each `<a>` and `<area>`, and of the first `<base>`.
pub(crate) fn links(html: &[u8]) -> Links {
    let mut emitter = DefaultEmitter::default();
    // Text within a script is no tag, even if it looks like one.
    emitter.naively_switch_states(true);
    let mut links = Links::default();
    for Ok(token) in Tokenizer::new_with_emitter(html, emitter) {
        let Token::StartTag(tag) = token else { continue };
        let Some(href) = href(&tag) else { continue };
        match tag.name.as_slice() {
            b"a" | b"area" => links.hrefs.push(href),
            b"base" if links.base.is_none() => links.base = Some(href),
            _ => {}
        }
    }
    links
}

fn href(tag: &StartTag<()>) -> Option<String> {
    let value = tag.attributes.get(b"href".as_slice())?;
    Some(String::from_utf8_lossy(value).into_owned())
}
