//! Lines over an axis of powers of ten.

use std::iter;

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::{Area, Drawn, FAINT, FONT, RULE, colour, ink, picture, plain, text, title};
use crate::common::workload::is_ours;

pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// Lines with the same axes.
pub(crate) struct Lines {
    pub(crate) title: String,
    pub(crate) across: String,
    pub(crate) up: String,
    pub(crate) lines: Vec<Line>,
}

const WIDTH: u32 = 1_140;
const PANEL: u32 = 434;
const TOP: u32 = 72;
/// The heights of a panel's title and of a line of the key below it.
const HEAD: i32 = 24;
const KEY: i32 = 17;
const KEYS_WIDTH: i32 = 262;

/// Draws panels, two of them side by side.
pub(crate) fn lines(title: &str, note: &str, panels: &[Lines]) -> String {
    let rows = panels.len().div_ceil(2);
    picture((WIDTH, TOP + PANEL * rows as u32), title, note, |area| {
        let (_, below) = area.split_vertically(TOP);
        for (panel, part) in panels.iter().zip(below.split_evenly((rows, 2))) {
            draw(&part, panel)?;
        }
        Ok(())
    })
}

fn draw(area: &Area<'_>, panel: &Lines) -> Drawn {
    title(area, &panel.title, (20, 14), 15.0)?;
    let rows = panel.lines.len().div_ceil(2) as i32;
    for (at, line) in panel.lines.iter().enumerate() {
        let (column, row) = (at as i32 / rows, at as i32 % rows);
        let (x, y) = (24 + KEYS_WIDTH * column, HEAD + 14 + KEY * row);
        stroke(&line.name, |style, dashed| {
            // The key of a dashed line has a gap, and ends with a dash.
            let middle = if dashed { [8, 14] } else { [11, 11] };
            area.draw(&PathElement::new(vec![(x, y), (x + middle[0], y)], style))?;
            area.draw(&PathElement::new(vec![(x + middle[1], y), (x + 22, y)], style))
        })?;
        text(area, &plain(&line.name), (x + 30, y), 13.0, ink(&line.name), HPos::Left)?;
    }

    let all = || panel.lines.iter().flat_map(|line| &line.points);
    let mut sizes: Vec<_> = all().map(|point| point.0).collect();
    sizes.sort_by(f64::total_cmp);
    sizes.dedup();
    let (Some(&least), Some(&most)) = (sizes.first(), sizes.last()) else { return Ok(()) };
    // The end of a range does not belong to it.
    let across = (least..most * 1.001).log_scale().with_key_points(sizes);
    let highest = all().map(|point| point.1).fold(0.0, f64::max) * 1.1;
    let mut chart = ChartBuilder::on(area)
        .margin(16)
        .margin_right(34)
        .margin_top(HEAD + KEY * rows + 20)
        .x_label_area_size(44)
        .y_label_area_size(58)
        .build_cartesian_2d(across, 0.0..highest)?;
    let label = (FONT, 12.0).into_font().color(&FAINT);
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(RULE)
        .axis_style(RULE)
        .label_style(label.clone())
        .axis_desc_style(label)
        .x_desc(&panel.across)
        .y_desc(&panel.up)
        .x_label_formatter(&short)
        .y_label_formatter(&short)
        .draw()?;
    for line in peers_first(&panel.lines) {
        stroke(&line.name, |style, dashed| {
            if dashed {
                let dashes = DashedLineSeries::new(line.points.clone(), 7, 4, style);
                chart.draw_series(dashes)?;
            } else {
                let path = PathElement::new(line.points.clone(), style);
                chart.draw_series(iter::once(path))?;
            }
            let mark = style.filled();
            chart.draw_series(line.points.iter().map(|&point| Circle::new(point, 3, mark)))?;
            Ok(())
        })?;
    }
    Ok(())
}

/// Draws a contender's line in its style; `true` says dashed. A crate has one colour, so its
/// second line is dashed.
fn stroke(name: &str, draw: impl FnOnce(ShapeStyle, bool) -> Drawn) -> Drawn {
    let width = if is_ours(name) { 3 } else { 2 };
    let dashed =
        [" boxed", "try_for_each_concurrent", "tokio permits", "neither", "queued", "`go` of"];
    let dashed = dashed.iter().any(|part| name.contains(part));
    draw(colour(name).stroke_width(width), dashed)
}

/// Returns the peers before our lines, so that ours are drawn above them.
fn peers_first(lines: &[Line]) -> impl Iterator<Item = &Line> {
    let (ours, peers): (Vec<_>, Vec<_>) = lines.iter().partition(|line| is_ours(&line.name));
    peers.into_iter().chain(ours)
}

/// Writes 100,000 as 100k.
fn short(value: &f64) -> String {
    match *value {
        value if value >= 0.999e9 => format!("{:.0}G", value / 1e9),
        value if value >= 0.999e6 => format!("{:.0}M", value / 1e6),
        value if value >= 0.999e3 => format!("{:.0}k", value / 1e3),
        value if value >= 0.999 => format!("{value:.0}"),
        value => format!("{value}"),
    }
}
