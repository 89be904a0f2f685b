//! The numbers as pictures. They are readable on a light page and on a dark one, since they have
//! a white background of their own.

pub(crate) mod bars;
pub(crate) mod lines;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::workload::is_ours;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

const FONT: &str = "Helvetica, Arial, 'DejaVu Sans', sans-serif";
const INK: RGBColor = RGBColor(0x1f, 0x29, 0x33);
const FAINT: RGBColor = RGBColor(0x6b, 0x74, 0x80);
const RULE: RGBColor = RGBColor(0xdd, 0xe1, 0xe6);
const OURS: RGBColor = RGBColor(0xd9, 0x48, 0x0f);

/// Shades of it, for contenders of ours that share a panel.
const SHADES: [(&str, RGBColor); 3] = [
    ("a weight each", RGBColor(0xf0, 0x8c, 0x2e)),
    ("a priority each", RGBColor(0x8a, 0x2b, 0x06)),
    ("`go` of a handle", RGBColor(0x8a, 0x2b, 0x06)),
];

/// The crates of the peers, in muted colours.
const MUTED: [(&str, RGBColor); 9] = [
    ("futures-buffered", RGBColor(0x8f, 0xa9, 0xc4)),
    ("futures-bounded", RGBColor(0xc4, 0x9f, 0x8f)),
    ("future-queue", RGBColor(0xc4, 0x8f, 0xa9)),
    ("buffer-unordered-weighted", RGBColor(0xd0, 0xa5, 0x8a)),
    ("unicycle", RGBColor(0x9a, 0xbf, 0xc9)),
    ("futures-concurrency", RGBColor(0x9b, 0xb8, 0xa5)),
    ("futures", RGBColor(0xa7, 0xad, 0xb8)),
    ("tokio", RGBColor(0xb9, 0xa8, 0xc6)),
    ("Go", RGBColor(0xc9, 0xbd, 0x9a)),
];

fn colour(contender: &str) -> RGBColor {
    if is_ours(contender) {
        let shade = SHADES.iter().find(|(part, _)| contender.ends_with(part));
        return shade.map_or(OURS, |&(_, colour)| colour);
    }
    let muted = MUTED.iter().find(|(name, _)| contender.starts_with(name));
    muted.map_or(FAINT, |&(_, colour)| colour)
}

/// Draws a picture of this size with a title, and lets `draw` fill the rest.
fn picture(
    size: (u32, u32),
    heading: &str,
    note: &str,
    draw: impl FnOnce(&Area<'_>) -> Drawn,
) -> String {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        let drawn = area.fill(&WHITE).and_then(|()| {
            let (width, height) = (size.0 as i32, size.1 as i32);
            let edge = Rectangle::new([(0, 0), (width - 1, height - 1)], RULE);
            area.draw(&edge)?;
            title(&area, heading, (20, 30), 19.0)?;
            text(&area, note, (20, 52), 13.0, FAINT, HPos::Left)?;
            draw(&area)?;
            area.present()
        });
        drawn.expect("a string takes all");
    }
    svg
}

/// Returns the colour of a contender's name.
fn ink(contender: &str) -> RGBColor {
    if is_ours(contender) { OURS } else { INK }
}

/// Writes a heading.
fn title(area: &Area<'_>, title: &str, at: (i32, i32), size: f64) -> Drawn {
    let font = (FONT, size).into_font().style(FontStyle::Bold);
    let style = font.color(&INK).pos(Pos::new(HPos::Left, VPos::Center));
    area.draw(&Text::new(title.to_string(), at, style))
}

/// Writes a text that is centred vertically at `at`.
fn text(
    area: &Area<'_>,
    text: &str,
    at: (i32, i32),
    size: f64,
    ink: RGBColor,
    side: HPos,
) -> Drawn {
    let style = (FONT, size).into_font().color(&ink).pos(Pos::new(side, VPos::Center));
    area.draw(&Text::new(text.to_string(), at, style))
}

/// Returns a contender's name without Markdown.
fn plain(name: &str) -> String {
    name.replace('`', "")
}
