//! The picture: running children below the line of the limit, each as high as its weight, and
//! waiting children above it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use errgroup::{Event, Outcome};

/// An event, and when it was delivered.
pub(crate) struct Moment {
    pub(crate) at: Duration,
    pub(crate) event: Event,
}

/// What the events don't tell.
pub(crate) struct Legend<'a> {
    /// The first limit.
    pub(crate) limit: usize,
    pub(crate) grace: Duration,
    pub(crate) weight: &'a dyn Fn(&str) -> usize,
    /// The child with a priority.
    pub(crate) urgent: &'a str,
}

/// A child that runs or has run.
struct Block {
    name: String,
    start: f64,
    end: f64,
    /// How many units of room it takes, and the lowest that it is drawn at.
    weight: usize,
    lowest: usize,
    /// The limit when it started.
    limit: usize,
    outcome: Outcome,
}

/// A stretch of time in which a waiting child keeps its position.
struct Wait {
    name: String,
    start: f64,
    end: f64,
    /// How many children wait ahead of it.
    rank: usize,
    limit: usize,
    first: bool,
    /// It was dropped by the stop.
    dropped: bool,
}

#[derive(Default)]
struct Story {
    blocks: Vec<Block>,
    waits: Vec<Wait>,
    /// The limits, and since when each holds.
    limits: Vec<(f64, usize)>,
    stop: Option<f64>,
    end: f64,
}

const WIDTH: f64 = 960.0;
const LEFT: f64 = 84.0;
const RIGHT: f64 = 18.0;
const TOP: f64 = 40.0;
/// The height of a unit of room.
const UNIT: f64 = 34.0;
/// The height of a waiting child.
const ROW: f64 = 17.0;
/// The approximate width of a letter.
const LETTER: f64 = 6.6;

/// That of a small letter.
const SMALL: f64 = 5.9;

// === impl Story ===

impl Story {
    fn of(moments: &[Moment], legend: &Legend<'_>) -> Self {
        let mut story = Self { limits: vec![(0.0, legend.limit)], ..Self::default() };
        let mut limit = legend.limit;
        let mut queue: Vec<(String, f64, bool)> = Vec::new();
        let mut running = BTreeMap::<usize, Block>::new();
        for Moment { at, event } in moments {
            let at = at.as_secs_f64() * 1000.0;
            let name = event.name().unwrap_or_default().to_string();
            match event {
                Event::Queued { .. } => {
                    let place = if name == legend.urgent { 0 } else { queue.len() };
                    story.close(&mut queue, at, limit);
                    queue.insert(place, (name, at, true));
                }
                Event::Started { index, .. } => {
                    story.leave(&mut queue, &name, at, limit, false);
                    let (weight, outcome) = ((legend.weight)(&name), Outcome::Dropped);
                    let (start, end, lowest) = (at, at, 0);
                    let block = Block { name, start, end, weight, lowest, limit, outcome };
                    running.insert(*index, block);
                }
                Event::Finished { index: Some(index), outcome, .. } => {
                    if let Some(mut block) = running.remove(index) {
                        (block.end, block.outcome) = (at, *outcome);
                        story.blocks.push(block);
                    }
                }
                Event::Finished { index: None, .. } => {
                    story.leave(&mut queue, &name, at, limit, true);
                }
                Event::LimitChanged { limit: Some(to), .. } => {
                    story.close(&mut queue, at, limit);
                    limit = *to;
                    story.limits.push((at, limit));
                }
                Event::Stopped(_) => story.stop = Some(at),
                _ => {}
            }
            story.end = at;
        }
        story.blocks.sort_by(|a, b| a.start.total_cmp(&b.start));
        place(&mut story.blocks, 0);
        story
    }

    /// Ends the current stretches of all waiting children, since their positions change.
    fn close(&mut self, queue: &mut [(String, f64, bool)], at: f64, limit: usize) {
        for (rank, (name, since, first)) in queue.iter_mut().enumerate() {
            // A stretch of no length can't be seen.
            if at - *since > 0.5 {
                let (start, end, name) = (*since, at, name.clone());
                let wait = Wait { name, start, end, rank, limit, first: *first, dropped: false };
                self.waits.push(wait);
                *first = false;
            }
            *since = at;
        }
    }

    fn leave(
        &mut self,
        queue: &mut Vec<(String, f64, bool)>,
        name: &str,
        at: f64,
        limit: usize,
        dropped: bool,
    ) {
        if let Some(place) = queue.iter().position(|(waits, ..)| waits == name) {
            self.close(queue, at, limit);
            queue.remove(place);
            let own = self.waits.iter_mut().rev().find(|wait| wait.name == name);
            if let Some(wait) = own {
                wait.dropped |= dropped;
            }
        }
    }
}

/// Finds a position for each block from `next` on, so that no two overlap and all are below the
/// limit. Returns `true` if there is one. (The group only counts units of room.)
fn place(blocks: &mut [Block], next: usize) -> bool {
    let Some(Block { start, weight, limit, .. }) = blocks.get(next) else {
        return true;
    };
    let (start, weight, limit) = (*start, *weight, *limit);
    for lowest in 0..=limit.saturating_sub(weight) {
        let is_free = blocks[..next].iter().all(|other| {
            other.end <= start
                || other.lowest + other.weight <= lowest
                || lowest + weight <= other.lowest
        });
        if is_free {
            blocks[next].lowest = lowest;
            if place(blocks, next + 1) {
                return true;
            }
        }
    }
    false
}

// === drawing ===

struct Scale {
    per_ms: f64,
    /// The bottom of the running children.
    floor: f64,
}

impl Scale {
    fn x(&self, at: f64) -> f64 {
        LEFT + at * self.per_ms
    }

    /// Returns the upper edge of this many units.
    fn y(&self, units: usize) -> f64 {
        self.floor - units as f64 * UNIT
    }
}

/// Draws the events.
pub(crate) fn draw(moments: &[Moment], legend: &Legend<'_>) -> String {
    let story = Story::of(moments, legend);
    let highest =
        story.waits.iter().map(|wait| wait.limit as f64 * UNIT + (wait.rank + 1) as f64 * ROW);
    let highest = highest.fold(6.0 * UNIT, f64::max) + 10.0;
    let floor = TOP + highest;
    let scale = Scale { per_ms: (WIDTH - LEFT - RIGHT) / (story.end * 1.01), floor };
    let height = floor + 58.0;
    let mut svg = String::new();
    let _ = write!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" \
         width=\"{WIDTH}\" height=\"{height:.0}\" role=\"img\" \
         aria-label=\"Which children of a group ran when: the running ones below the line of the \
         limit, the waiting ones above it\">\n{STYLE}\
         <rect class=\"paper\" width=\"{WIDTH}\" height=\"{height:.0}\" rx=\"10\"/>\n"
    );
    draw_grace(&mut svg, &story, &scale, legend);
    story.waits.iter().for_each(|wait| draw_wait(&mut svg, wait, &scale, legend));
    // The names are drawn last, above all lines.
    let mut names = String::new();
    for block in &story.blocks {
        draw_block(&mut svg, &mut names, block, &scale, legend);
    }
    draw_limit(&mut svg, &story, &scale);
    draw_marks(&mut svg, &story, &scale, legend);
    svg.push_str(&names);
    draw_axis(&mut svg, &story, &scale);
    svg.push_str("</svg>\n");
    svg
}

fn draw_block(
    svg: &mut String,
    names: &mut String,
    block: &Block,
    scale: &Scale,
    legend: &Legend<'_>,
) {
    let (left, right) = (scale.x(block.start) + 1.0, scale.x(block.end) - 1.0);
    let width = (right - left).max(2.0);
    let class = match block.outcome {
        _ if block.name == "a daemon" => "daemon",
        Outcome::Ok => "ok",
        Outcome::Dropped => "cut",
        _ => "failed",
    };
    let top = scale.y(block.lowest + block.weight) + 1.5;
    let tall = block.weight as f64 * UNIT - 3.0;
    let _ = writeln!(
        svg,
        "<rect class=\"{class}\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" \
         height=\"{tall:.1}\" rx=\"4\"/>"
    );
    let what = match class {
        "failed" => " fails",
        "cut" => " does not listen",
        _ if block.name == legend.urgent => " first",
        _ => "",
    };
    let weight = if block.weight > 1 { format!(" ×{}", block.weight) } else { String::new() };
    let name = &block.name;
    let texts = [format!("{name}{weight}{what}"), format!("{name}{weight}"), name.clone()];
    let fits = |text: &&String| text.chars().count() as f64 * LETTER + 10.0 < width;
    if let Some(text) = texts.iter().find(fits) {
        let (x, y) = (left + 7.0, top + tall / 2.0 + 4.0);
        let _ = writeln!(names, "<text class=\"in\" x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>");
    }
    if class == "cut" {
        draw_cross(names, right - 10.0, top + tall / 2.0, "on");
    }
}

fn draw_wait(svg: &mut String, wait: &Wait, scale: &Scale, legend: &Legend<'_>) {
    let (left, right) = (scale.x(wait.start), scale.x(wait.end));
    let (left, width) = (left + 0.5, (right - left - 1.0).max(1.0));
    let urgent = wait.name == legend.urgent;
    let class = if urgent { "waits urgent" } else { "waits" };
    let top = scale.y(wait.limit) - (wait.rank + 1) as f64 * ROW - 3.0;
    let tall = ROW - 2.0;
    let _ = writeln!(
        svg,
        "<rect class=\"{class}\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" \
         height=\"{tall:.1}\" rx=\"3\"/>"
    );
    let texts = match (urgent, wait.first) {
        (true, _) => vec![format!("{}: priority", wait.name), "priority".into()],
        (false, true) => vec![wait.name.clone()],
        (false, false) => Vec::new(),
    };
    let fits = |text: &&String| text.len() as f64 * SMALL + 8.0 < width;
    if let Some(text) = texts.iter().find(fits) {
        let (x, y) = (left + 6.0, top + tall - 4.0);
        let _ = writeln!(svg, "<text class=\"by\" x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>");
    }
    if wait.dropped {
        draw_cross(svg, right - 8.0, top + tall / 2.0, "off");
    }
}

fn draw_cross(svg: &mut String, x: f64, y: f64, class: &str) {
    let (a, b, c, d) = (x - 3.5, y - 3.5, x + 3.5, y + 3.5);
    let _ = writeln!(
        svg,
        "<path class=\"cross {class}\" d=\"M{a:.1} {b:.1}L{c:.1} {d:.1}M{c:.1} {b:.1}L{a:.1} {d:.1}\"/>"
    );
}

fn draw_limit(svg: &mut String, story: &Story, scale: &Scale) {
    let mut path = String::new();
    for (n, &(at, limit)) in story.limits.iter().enumerate() {
        let y = scale.y(limit) - 1.0;
        let x = if n == 0 { LEFT } else { scale.x(at) };
        let _ = match n {
            0 => write!(path, "M{x:.1} {y:.1}"),
            _ => write!(path, "H{x:.1}V{y:.1}"),
        };
    }
    let end = story.stop.unwrap_or(story.end);
    let _ = writeln!(svg, "<path class=\"limit\" d=\"{path}H{:.1}\"/>", scale.x(end));
    for (n, &(at, limit)) in story.limits.iter().enumerate() {
        let y = scale.y(limit);
        let _ = if n == 0 {
            let x = LEFT - 8.0;
            let y = y + 4.0;
            writeln!(svg, "<text class=\"strong left\" x=\"{x}\" y=\"{y:.1}\">limit {limit}</text>")
        } else {
            let (x, y) = (scale.x(at) - 6.0, y + 12.0);
            writeln!(
                svg,
                "<text class=\"strong left halo\" x=\"{x:.1}\" y=\"{y:.1}\">limit {limit}</text>"
            )
        };
    }
    let x = LEFT - 8.0;
    let first = story.limits.first().map_or(0, |(_, limit)| *limit);
    let (above, below) = (scale.y(first) - 50.0, scale.y(first) + 60.0);
    let _ = writeln!(
        svg,
        "<text class=\"left\" x=\"{x}\" y=\"{above:.1}\">waiting</text>\n\
         <text class=\"left\" x=\"{x}\" y=\"{below:.1}\">running</text>"
    );
}

fn draw_grace(svg: &mut String, story: &Story, scale: &Scale, legend: &Legend<'_>) {
    if let Some(stop) = story.stop {
        let left = scale.x(stop);
        let right = scale.x(stop + legend.grace.as_secs_f64() * 1000.0).min(WIDTH - RIGHT);
        let (width, tall) = (right - left, scale.floor - TOP + 14.0);
        let top = TOP - 14.0;
        let _ = writeln!(
            svg,
            "<rect class=\"grace\" x=\"{left:.1}\" y=\"{top}\" width=\"{width:.1}\" height=\"{tall:.1}\"/>"
        );
    }
}

/// The stop, and the end of the grace.
fn draw_marks(svg: &mut String, story: &Story, scale: &Scale, legend: &Legend<'_>) {
    let Some(stop) = story.stop else {
        return;
    };
    let over = stop + legend.grace.as_secs_f64() * 1000.0;
    let (top, bottom) = (TOP - 14.0, scale.floor);
    let mut mark = |class: &str, at: f64, text: &str| {
        let x = scale.x(at).min(WIDTH - RIGHT);
        let (tx, ty) = (x, top - 6.0);
        let anchor = if class == "over" { "left" } else { "middle" };
        let _ = writeln!(
            svg,
            "<path class=\"mark {class}\" d=\"M{x:.1} {top}V{bottom:.1}\"/>\n\
             <text class=\"{anchor} {class}\" x=\"{tx:.1}\" y=\"{ty:.1}\">{text}</text>"
        );
    };
    mark("stop", stop, "one fails: stop");
    mark("over", over, "grace over");
    let (x, y) = ((scale.x(stop) + scale.x(over)) / 2.0, TOP + 8.0);
    let _ = writeln!(
        svg,
        "<text class=\"middle\" x=\"{x:.1}\" y=\"{y:.1}\">the others are told,</text>\n\
         <text class=\"middle\" x=\"{x:.1}\" y=\"{:.1}\">and clean up</text>",
        y + 15.0
    );
}

fn draw_axis(svg: &mut String, story: &Story, scale: &Scale) {
    let y = scale.floor + 2.0;
    let right = WIDTH - RIGHT;
    let _ = writeln!(svg, "<path class=\"axis\" d=\"M{LEFT} {y:.1}H{right}\"/>");
    let mut at = 0.0;
    while at <= story.end {
        let (x, ty) = (scale.x(at), y + 16.0);
        let text = if at == 0.0 { "0".into() } else { format!("{:.1} s", at / 1000.0) };
        let _ = writeln!(
            svg,
            "<path class=\"axis\" d=\"M{x:.1} {y:.1}v4\"/>\
             <text class=\"middle by\" x=\"{x:.1}\" y=\"{ty:.1}\">{text}</text>"
        );
        at += 200.0;
    }
    let keys = [
        ("waits", "waits"),
        ("ok", "finishes"),
        ("failed", "fails"),
        ("cut", "is dropped"),
        ("daemon", "daemon"),
    ];
    let mut x = LEFT;
    let y = y + 30.0;
    for (class, text) in keys {
        let ty = y + 11.0;
        let tx = x + 20.0;
        let _ = writeln!(
            svg,
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"14\" height=\"13\" rx=\"3\"/>\
             <text x=\"{tx:.1}\" y=\"{ty:.1}\">{text}</text>"
        );
        x += 48.0 + text.len() as f64 * LETTER;
    }
    let (x, y) = (right, y + 11.0);
    let _ = writeln!(
        svg,
        "<text class=\"left by\" x=\"{x}\" y=\"{y:.1}\">×2: weighs two · recorded by an Observer</text>"
    );
}

/// The colours for a light page and for a dark one.
const STYLE: &str = "<style>
text { font: 12px system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif; fill: #3d4650 }
.left { text-anchor: end }
.middle { text-anchor: middle }
.strong { font-weight: 600; fill: #1b232b }
.by { font-size: 11px; fill: #66707a }
.in { fill: #ffffff; font-weight: 500 }
.halo { stroke: #ffffff; stroke-width: 5; paint-order: stroke }
.paper { fill: #ffffff }
.waits { fill: #dfe5ec; stroke: #b9c3ce; stroke-width: 0.8 }
.urgent { fill: #c3dbf6; stroke: #7fa9d6 }
.ok { fill: #2f74c0 }
.daemon { fill: #7d6bb5 }
.failed { fill: #c9352b }
.cut { fill: #d08418 }
.limit { fill: none; stroke: #1b232b; stroke-width: 2.5 }
.grace { fill: #f3efe6 }
.mark { fill: none; stroke-width: 1.5; stroke-dasharray: 5 4 }
path.stop { stroke: #c9352b }
path.over { stroke: #a8660a }
text.stop { fill: #c9352b; font-weight: 600 }
text.over { fill: #a8660a; font-weight: 600 }
.axis { fill: none; stroke: #98a2ad }
.cross { fill: none; stroke-width: 1.8; stroke-linecap: round }
.cross.on { stroke: #ffffff }
.cross.off { stroke: #c9352b }
@media (prefers-color-scheme: dark) {
text { fill: #b4bdc7 }
.strong { fill: #eef2f6 }
.by { fill: #8f99a4 }
.in { fill: #ffffff }
.halo { stroke: #0d1117 }
.paper { fill: #0d1117 }
.waits { fill: #242c36; stroke: #414c59 }
.urgent { fill: #1f3c5c; stroke: #3f6a99 }
.ok { fill: #2b6cb3 }
.daemon { fill: #6b5aa6 }
.failed { fill: #d1453b }
.cut { fill: #b06f14 }
.limit { stroke: #eef2f6 }
.grace { fill: #1c1a15 }
path.stop { stroke: #ef6a60 }
path.over { stroke: #dda24a }
text.stop { fill: #ef6a60 }
text.over { fill: #dda24a }
.axis { stroke: #59636e }
.cross.off { stroke: #ef6a60 }
}
</style>
";
