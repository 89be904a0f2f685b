//! Horizontal bars, each with its name before it and its number behind it.

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::{Area, Drawn, colour, ink, picture, plain, text, title};
use crate::common::table::number;

pub(crate) struct Bar {
    pub(crate) name: String,
    pub(crate) value: f64,
}

/// Bars with one scale.
pub(crate) struct Bars {
    pub(crate) title: String,
    pub(crate) bars: Vec<Bar>,
}

const PANEL: i32 = 560;
const TOP: i32 = 72;
const HEAD: i32 = 34;
const BAR: i32 = 18;
const GAP: i32 = 26;
/// The width of the names, and that of the numbers.
const NAMES: i32 = 290;
const NUMBERS: i32 = 70;

/// Draws panels, `columns` of them side by side.
pub(crate) fn bars(heading: &str, note: &str, columns: usize, mut panels: Vec<Bars>) -> String {
    for panel in &mut panels {
        panel.bars.sort_by(|one, other| one.value.total_cmp(&other.value));
    }
    let heights: Vec<i32> = panels.chunks(columns).map(height).collect();
    let size = (PANEL * columns as i32 + 20, TOP + heights.iter().sum::<i32>());
    picture((size.0 as u32, size.1 as u32), heading, note, |area| {
        let mut top = TOP;
        for (row, height) in panels.chunks(columns).zip(heights) {
            for (column, panel) in row.iter().enumerate() {
                draw(area, panel, (20 + PANEL * column as i32, top))?;
            }
            top += height;
        }
        Ok(())
    })
}

/// Returns the height of a row of panels: that of its highest.
fn height(row: &[Bars]) -> i32 {
    let most = row.iter().map(|panel| panel.bars.len()).max().unwrap_or(0);
    HEAD + BAR * most as i32 + GAP
}

fn draw(area: &Area<'_>, panel: &Bars, (left, top): (i32, i32)) -> Drawn {
    title(area, &panel.title, (left, top + HEAD / 2), 15.0)?;
    let most = scale(&panel.bars);
    let start = left + NAMES;
    let room = f64::from(PANEL - 20 - NAMES - NUMBERS);
    for (at, bar) in panel.bars.iter().enumerate() {
        let y = top + HEAD + BAR * at as i32;
        let middle = y + BAR / 2;
        let end = start + ((bar.value / most).clamp(0.0, 1.0) * room).round().max(2.0) as i32;
        text(area, &plain(&bar.name), (start - 8, middle), 13.0, ink(&bar.name), HPos::Right)?;
        let shape = [(start, y + 3), (end, y + BAR - 3)];
        area.draw(&Rectangle::new(shape, colour(&bar.name).filled()))?;
        if bar.value > most {
            // Two strokes through it say that it is longer than drawn.
            for x in [end - 26, end - 20] {
                let stroke = vec![(x, y + BAR - 1), (x + 6, y + 1)];
                area.draw(&PathElement::new(stroke, WHITE.stroke_width(3)))?;
            }
        }
        text(area, &number(bar.value), (end + 6, middle), 13.0, ink(&bar.name), HPos::Left)?;
    }
    Ok(())
}

/// Returns the value of the longest bar that is drawn whole. A bar far longer than all others is
/// cut, or nothing would be left of them.
fn scale(sorted: &[Bar]) -> f64 {
    match sorted {
        [.., second, longest] if longest.value > 3.0 * second.value => second.value * 1.25,
        [.., longest] => longest.value,
        [] => 1.0,
    }
}
