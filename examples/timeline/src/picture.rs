//! The picture: running children below the line of the limit, each as high as its weight, and
//! waiting children above it.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;

use crate::record::{Child, Event, Moment, Outcome};

/// A child that runs or has run.
struct Block {
    label: Label,
    start: f64,
    end: f64,
    /// How long it has waited in the queue.
    waited: Option<f64>,
    /// The lowest unit of room that it is drawn at. If it takes no room, its lane below them.
    lowest: u64,
    /// The limit when it started.
    limit: Option<u64>,
    /// `None` if the record ends before it does.
    outcome: Option<Outcome>,
}

/// A child as it is drawn.
#[derive(Clone)]
struct Label {
    name: String,
    key: Option<usize>,
    weight: u64,
    priority: i64,
    daemon: bool,
}

/// A child in the queue.
struct Queued {
    queue_index: u64,
    label: Label,
    /// When it was queued, and when the current stretch began.
    queued: f64,
    since: f64,
    /// No stretch of it was drawn yet.
    first: bool,
}

/// A stretch of time in which a waiting child keeps its position.
struct Wait {
    queue_index: u64,
    label: Label,
    start: f64,
    end: f64,
    /// How many children wait ahead of it.
    rank: usize,
    limit: Option<u64>,
    first: bool,
    /// It was dropped from the queue.
    dropped: bool,
}

#[derive(Default)]
struct Story {
    blocks: Vec<Block>,
    waits: Vec<Wait>,
    /// The waiting children are too many to be drawn one by one.
    crowded: bool,
    /// How many children wait, and since when.
    counts: Vec<(f64, usize)>,
    keys: Vec<String>,
    /// The numbers of the keys.
    numbers: BTreeMap<String, usize>,
    /// The limits, and since when each holds.
    limits: Vec<(f64, Option<u64>)>,
    /// The stop, if it left anything to do, and its reason.
    stop: Option<(f64, String)>,
    notes: Vec<(f64, String)>,
    rejected: usize,
    end: f64,
    /// How many units of room there are to draw, and how many lanes below them.
    units: u64,
    lanes: u64,
    /// A child is drawn above the limit.
    exceeds: bool,
}

const WIDTH: f64 = 960.0;
const LEFT: f64 = 84.0;
const RIGHT: f64 = 18.0;
const TOP: f64 = 40.0;
/// The height of a unit of room, unless there are many.
const UNIT: f64 = 34.0;
/// The height of all units of room, at most.
const ROOM: f64 = 480.0;
/// The height of a waiting child.
const ROW: f64 = 17.0;
/// If more children than these wait at a time, their number is drawn.
const ROWS: usize = 24;
/// If their positions have changed so often, too.
const STRETCHES: usize = 20_000;
/// The height of a lane of children that take no room.
const LANE: f64 = 15.0;
/// The approximate width of a letter, and of a small one.
const LETTER: f64 = 6.6;
const SMALL: f64 = 5.9;
/// How many keys have a colour of their own.
const COLOURS: usize = 8;
/// How many positions are tried, so that children are drawn in one piece below the limit.
const TRIES: usize = 20_000;
/// Up to this limit, a position may be above nothing.
const POSITIONS: u64 = 64;
/// How many children are so placed. It is how deep the search is.
const SEARCHED: usize = 500;

// === impl Story ===

impl Story {
    fn of(moments: &[Moment]) -> Self {
        let mut story = Self::default();
        let mut limit = None;
        let mut queue = VecDeque::<Queued>::new();
        let mut running = BTreeMap::<u64, Block>::new();
        for Moment { at, event } in moments {
            let at = *at;
            story.end = at;
            match event {
                Event::Queued { queue_index, child } => {
                    let label = story.label(child, None);
                    let place = queue.partition_point(|it| it.label.priority >= label.priority);
                    story.split(&mut queue, place, at, limit);
                    let (queue_index, since) = (*queue_index, at);
                    let new = Queued { queue_index, label, queued: at, since, first: true };
                    queue.insert(place, new);
                    story.counts.push((at, queue.len()));
                }
                Event::Started { index, queue_index, child } => {
                    let waited =
                        queue_index.and_then(|it| story.leave(&mut queue, it, at, limit, false));
                    let label = story.label(child, Some(*index));
                    let (outcome, lowest) = (None, 0);
                    let block = Block { label, start: at, end: at, waited, lowest, limit, outcome };
                    running.insert(*index, block);
                }
                Event::Finished { index, outcome } => {
                    if let Some(mut block) = running.remove(index) {
                        (block.end, block.outcome) = (at, Some(*outcome));
                        story.blocks.push(block);
                    }
                }
                Event::DroppedFromQueue { queue_index } => {
                    story.leave(&mut queue, *queue_index, at, limit, true);
                }
                Event::Limit(to) => {
                    story.split(&mut queue, 0, at, limit);
                    limit = *to;
                    story.limits.push((at, limit));
                }
                // One that leaves nothing to do is the end.
                Event::Stopped { .. } if running.is_empty() && queue.is_empty() => {}
                Event::Stopped { reason } => story.stop = Some((at, reason.clone())),
                Event::Note(text) => story.notes.push((at, text.clone())),
                Event::Rejected => story.rejected += 1,
            }
        }
        let end = story.end;
        story.split(&mut queue, 0, end, limit);
        story.blocks.extend(running.into_values().map(|block| Block { end, ..block }));
        story.blocks.sort_by(|a, b| a.start.total_cmp(&b.start));
        story.place();
        story
    }

    fn label(&mut self, child: &Child, index: Option<u64>) -> Label {
        let key = child.key.as_ref().map(|key| {
            *self.numbers.entry(key.clone()).or_insert_with(|| {
                self.keys.push(key.clone());
                self.keys.len() - 1
            })
        });
        let name = child.name.clone().or_else(|| index.map(|index| format!("#{index}")));
        let Child { weight, priority, daemon, .. } = *child;
        Label { name: name.unwrap_or_default(), key, weight, priority, daemon }
    }

    /// Ends the current stretches of the children that wait at this place and behind it, since
    /// their positions change.
    fn split(&mut self, queue: &mut VecDeque<Queued>, place: usize, at: f64, limit: Option<u64>) {
        if self.crowded || queue.len() > ROWS || self.waits.len() > STRETCHES {
            self.crowded = true;
            self.waits = Vec::new();
            return;
        }
        for (rank, child) in queue.iter_mut().enumerate().skip(place) {
            // A stretch of no length can't be seen.
            if at > child.since {
                let (start, end, first) = (child.since, at, child.first);
                let (queue_index, label) = (child.queue_index, child.label.clone());
                let dropped = false;
                let wait = Wait { queue_index, label, start, end, rank, limit, first, dropped };
                self.waits.push(wait);
                child.first = false;
            }
            child.since = at;
        }
    }

    /// Takes a child out of the queue; returns how long it has waited.
    fn leave(
        &mut self,
        queue: &mut VecDeque<Queued>,
        queue_index: u64,
        at: f64,
        limit: Option<u64>,
        dropped: bool,
    ) -> Option<f64> {
        let place = queue.iter().position(|it| it.queue_index == queue_index)?;
        self.split(queue, place, at, limit);
        let child = queue.remove(place)?;
        self.counts.push((at, queue.len()));
        if dropped {
            let last = self.waits.iter_mut().rev().find(|it| it.queue_index == queue_index);
            if let Some(last) = last {
                last.dropped = true;
            }
        }
        Some(at - child.queued)
    }

    /// Finds a position for each block, so that no two overlap. (The group only counts units of
    /// room.)
    fn place(&mut self) {
        let (mut tries, mut placed) = (TRIES, Vec::new());
        let mut weighty: Vec<usize> =
            (0..self.blocks.len()).filter(|it| self.blocks[*it].label.weight > 0).collect();
        let searched = weighty.len().min(SEARCHED);
        if !place(&mut self.blocks, &weighty[..searched], 0, &mut tries) {
            weighty.iter().for_each(|it| self.blocks[*it].lowest = 0);
        } else {
            placed = weighty.drain(..searched).collect();
        }
        for next in weighty {
            let Block { start, ref label, .. } = self.blocks[next];
            placed.retain(|other: &usize| self.blocks[*other].runs_at(start));
            self.blocks[next].lowest = lowest(&self.blocks, &placed, label.weight);
            placed.push(next);
        }
        let mut lanes: Vec<f64> = Vec::new();
        for block in self.blocks.iter_mut().filter(|block| block.label.weight == 0) {
            let lane = lanes.iter().position(|end| *end <= block.start).unwrap_or(lanes.len());
            lanes.resize(lanes.len().max(lane + 1), 0.0);
            lanes[lane] = block.end;
            block.lowest = lane as u64;
        }
        let tops = |block: &Block| block.lowest.saturating_add(block.label.weight);
        let weighty = self.blocks.iter().filter(|block| block.label.weight > 0);
        self.exceeds = weighty.clone().any(|it| it.limit.is_some_and(|limit| tops(it) > limit));
        let limits = self.limits.iter().filter_map(|(_, limit)| *limit);
        self.units = weighty.map(tops).chain(limits).max().unwrap_or(1).max(1);
        self.lanes = lanes.len() as u64;
    }
}

/// Returns the lowest position for a weight that is free among these blocks, all of which run at
/// the same time.
fn lowest(blocks: &[Block], placed: &[usize], weight: u64) -> u64 {
    let mut taken: Vec<(u64, u64)> = placed.iter().map(|it| blocks[*it].span()).collect();
    taken.sort_unstable();
    let mut lowest = 0_u64;
    for (bottom, top) in taken {
        if lowest.saturating_add(weight) <= bottom {
            break;
        }
        lowest = lowest.max(top);
    }
    lowest
}

impl Block {
    /// Returns `true` if it runs still when one that starts at this time, after it, does.
    fn runs_at(&self, at: f64) -> bool {
        self.end > at || self.outcome.is_none()
    }

    /// Returns the units between which it is drawn.
    fn span(&self) -> (u64, u64) {
        (self.lowest, self.lowest.saturating_add(self.label.weight))
    }
}

/// Finds a position for each of these blocks from `next` on, so that no two overlap and all are
/// below the limit. Returns `true` if there is one, found within the number of tries.
fn place(blocks: &mut [Block], order: &[usize], next: usize, tries: &mut usize) -> bool {
    let Some(&own) = order.get(next) else {
        return true;
    };
    let Block { start, limit, ref label, .. } = blocks[own];
    let weight = label.weight;
    let beside: Vec<(u64, u64)> = order[..next]
        .iter()
        .filter(|other| blocks[**other].runs_at(start))
        .map(|other| blocks[*other].span())
        .collect();
    let positions: Vec<u64> = match limit {
        Some(limit) if limit <= POSITIONS => (0..=limit.saturating_sub(weight)).collect(),
        // At the bottom, or above another block.
        _ => beside.iter().map(|(_, top)| *top).chain([0]).collect(),
    };
    for lowest in positions {
        let top = lowest.saturating_add(weight);
        // One that is heavier than the limit runs alone.
        let fits = limit.is_none_or(|limit| top <= limit || lowest == 0);
        if fits && beside.iter().all(|(bottom, above)| *above <= lowest || top <= *bottom) {
            let Some(left) = tries.checked_sub(1) else { return false };
            *tries = left;
            blocks[own].lowest = lowest;
            if place(blocks, order, next + 1, tries) {
                return true;
            }
        }
    }
    false
}

// === drawing ===

struct Scale {
    per_second: f64,
    unit: f64,
    /// The bottom of the children that take room, and that of the lanes below.
    floor: f64,
    bottom: f64,
}

impl Scale {
    fn x(&self, at: f64) -> f64 {
        LEFT + at * self.per_second
    }

    /// Returns the upper edge of this many units.
    fn y(&self, units: u64) -> f64 {
        self.floor - units as f64 * self.unit
    }
}

impl Story {
    /// Returns how many units are below the waiting children.
    fn base(&self, limit: Option<u64>) -> u64 {
        limit.filter(|_| !self.exceeds).unwrap_or(self.units)
    }
}

/// Draws the events.
pub(crate) fn draw(moments: &[Moment]) -> String {
    let story = Story::of(moments);
    let unit = (ROOM / story.units as f64).min(UNIT);
    let waiting = |wait: &Wait| story.base(wait.limit) as f64 * unit + (wait.rank + 1) as f64 * ROW;
    let highest = if story.crowded {
        story.units as f64 * unit + ROWS as f64 * ROW
    } else {
        story.waits.iter().map(waiting).fold(story.units as f64 * unit, f64::max)
    };
    // There is room for the names of the two parts at the side.
    let floor = TOP + highest.max(4.0 * UNIT) + 10.0;
    let bottom = floor + story.lanes as f64 * LANE;
    let per_second = (WIDTH - LEFT - RIGHT) / (story.end * 1.01).max(1e-6);
    let scale = Scale { per_second, unit, floor, bottom };
    let height = bottom + 58.0 + if story.keys.is_empty() { 0.0 } else { 20.0 };
    let mut svg = String::new();
    let _ = write!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" \
         width=\"{WIDTH}\" height=\"{height:.0}\" role=\"img\" \
         aria-label=\"Which children of a group ran when: the running ones below the line of the \
         limit, the waiting ones above it\">\n{STYLE}\
         <rect class=\"paper\" width=\"{WIDTH}\" height=\"{height:.0}\" rx=\"10\"/>\n"
    );
    draw_drain(&mut svg, &story, &scale);
    if story.crowded {
        draw_count(&mut svg, &story, &scale);
    } else {
        story.waits.iter().for_each(|wait| draw_wait(&mut svg, wait, &scale, &story));
    }
    // The names are drawn last, above all lines.
    let mut names = String::new();
    story.blocks.iter().for_each(|it| draw_block(&mut svg, &mut names, it, &scale, &story));
    draw_limit(&mut svg, &story, &scale);
    draw_marks(&mut svg, &story, &scale);
    svg.push_str(&names);
    draw_axis(&mut svg, &story, &scale);
    draw_legend(&mut svg, &story, &scale);
    svg.push_str("</svg>\n");
    svg
}

/// Returns a text as it is in SVG.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            // XML has no way to say most of them.
            _ if letter.is_control() || matches!(letter, '\u{fffe}' | '\u{ffff}') => {
                escaped.push('\u{fffd}');
            }
            _ => escaped.push(letter),
        }
    }
    escaped
}

/// Returns a unit that suits a time, and how many of it are a second.
fn unit_of(seconds: f64) -> (&'static str, f64) {
    match seconds {
        _ if seconds < 1e-3 => ("µs", 1e6),
        _ if seconds < 0.1 => ("ms", 1e3),
        _ if seconds < 600.0 => ("s", 1.0),
        _ => ("min", 1.0 / 60.0),
    }
}

fn time_in((unit, per_second): (&str, f64), seconds: f64) -> String {
    if seconds == 0.0 {
        return "0".into();
    }
    let number = format!("{:.2}", seconds * per_second);
    format!("{} {unit}", number.trim_end_matches('0').trim_end_matches('.'))
}

fn time(seconds: f64) -> String {
    time_in(unit_of(seconds), seconds)
}

impl Story {
    /// Returns what is shown for a child under the pointer.
    fn title(&self, label: &Label, start: f64, end: f64, more: &str) -> String {
        let mut title = label.name.clone();
        if let Some(key) = label.key {
            let _ = write!(title, ", key {}", self.keys[key]);
        }
        if label.weight != 1 {
            let _ = write!(title, ", weight {}", label.weight);
        }
        if label.priority != 0 {
            let _ = write!(title, ", priority {}", label.priority);
        }
        if label.daemon {
            title.push_str(", daemon");
        }
        let _ = write!(title, ": {more}, from {} to {}", time(start), time(end));
        escape(title.trim_start_matches([':', ',', ' ']))
    }
}

fn draw_block(svg: &mut String, names: &mut String, block: &Block, scale: &Scale, story: &Story) {
    let label = &block.label;
    let (left, right) = (scale.x(block.start) + 1.0, scale.x(block.end) - 1.0);
    let width = (right - left).max(2.0);
    let (class, what, end) = match block.outcome {
        _ if label.daemon => ("daemon", "", "daemon"),
        None => ("goes", "", "the record ends before it"),
        Some(Outcome::Ok) => ("ok", "", "finishes"),
        Some(Outcome::Failed) => ("failed", " fails", "fails"),
        Some(Outcome::Panicked) => ("failed", " panics", "panics"),
        Some(Outcome::Dropped) => ("cut", " is dropped", "is dropped"),
    };
    let (top, tall) = if label.weight == 0 {
        (scale.floor + block.lowest as f64 * LANE + 2.0, LANE - 2.0)
    } else {
        let gap = 3.0_f64.min(scale.unit / 4.0);
        let tall = (label.weight as f64 * scale.unit - gap).max(0.5);
        (scale.y(block.lowest.saturating_add(label.weight)) + gap / 2.0, tall)
    };
    let waited = block.waited.map(|it| format!(", has waited {}", time(it))).unwrap_or_default();
    let title = story.title(label, block.start, block.end, &format!("{end}{waited}"));
    let corner = 4.0_f64.min(tall / 3.0);
    let _ = writeln!(
        svg,
        "<rect class=\"{class}\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" \
         height=\"{tall:.1}\" rx=\"{corner:.1}\"><title>{title}</title></rect>"
    );
    draw_key(svg, label.key, (left, top, width, tall));
    let what = if label.priority > 0 && what.is_empty() { " first" } else { what };
    let weight = if label.weight > 1 { format!(" ×{}", label.weight) } else { String::new() };
    let name = &label.name;
    let key = label.key.map_or(String::new(), |key| format!(" · {}", story.keys[key]));
    let texts = [
        format!("{name}{key}{weight}{what}"),
        format!("{name}{weight}{what}"),
        format!("{name}{weight}"),
        name.clone(),
    ];
    let fits = |text: &&String| text.chars().count() as f64 * LETTER + 10.0 < width;
    if let Some(text) = texts.iter().find(fits).filter(|_| tall > 12.0) {
        let (x, y, text) = (left + 7.0, top + tall / 2.0 + 4.0, escape(text));
        let _ = writeln!(names, "<text class=\"in\" x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>");
    }
    if class == "cut" && tall > 8.0 && width > 14.0 {
        draw_cross(names, right - 10.0, top + tall / 2.0, "on");
    }
}

/// Draws the colour of a key at the lower edge of a child.
fn draw_key(svg: &mut String, key: Option<usize>, (left, top, width, tall): (f64, f64, f64, f64)) {
    if let Some(key) = key {
        let high = 4.0_f64.min(tall / 3.0);
        let (y, colour) = (top + tall - high, key % COLOURS);
        let _ = writeln!(
            svg,
            "<rect class=\"key k{colour}\" x=\"{left:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" \
             height=\"{high:.1}\" rx=\"1\"/>"
        );
    }
}

fn draw_wait(svg: &mut String, wait: &Wait, scale: &Scale, story: &Story) {
    let label = &wait.label;
    let (left, right) = (scale.x(wait.start), scale.x(wait.end));
    let (left, width) = (left + 0.5, (right - left - 1.0).max(1.0));
    if right - left < 0.3 && !wait.dropped {
        return; // it can't be seen
    }
    let urgent = label.priority > 0;
    let class = if urgent { "waits urgent" } else { "waits" };
    let base = scale.y(story.base(wait.limit));
    let top = base - (wait.rank + 1) as f64 * ROW - 3.0;
    let tall = ROW - 2.0;
    let title = story.title(label, wait.start, wait.end, "waits");
    let _ = writeln!(
        svg,
        "<rect class=\"{class}\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" \
         height=\"{tall:.1}\" rx=\"3\"><title>{title}</title></rect>"
    );
    draw_key(svg, label.key, (left, top, width, tall));
    let weight = if label.weight > 1 { format!(" ×{}", label.weight) } else { String::new() };
    let name = &label.name;
    let texts = match (urgent, wait.first) {
        (true, true) => vec![format!("{name}: priority"), "priority".into(), name.clone()],
        (false, true) => vec![format!("{name}{weight}"), name.clone()],
        (_, false) => Vec::new(),
    };
    let fits = |text: &&String| text.chars().count() as f64 * SMALL + 8.0 < width;
    if let Some(text) = texts.iter().find(fits) {
        let (x, y, text) = (left + 6.0, top + tall - 4.0, escape(text));
        let _ = writeln!(svg, "<text class=\"by\" x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>");
    }
    if wait.dropped {
        draw_cross(svg, right - 8.0, top + tall / 2.0, "off");
    }
}

/// Draws how many children wait, if they are too many to be drawn one by one.
fn draw_count(svg: &mut String, story: &Story, scale: &Scale) {
    let most = story.counts.iter().map(|(_, count)| *count).max().unwrap_or(0);
    let base = scale.y(story.units) - 3.0;
    let y = |count: usize| base - count as f64 / most as f64 * (ROWS as f64 * ROW - 12.0);
    let mut path = format!("M{:.1} {base:.1}", scale.x(0.0));
    for (at, count) in &story.counts {
        let _ = write!(path, "H{:.1}V{:.1}", scale.x(*at), y(*count));
    }
    let end = scale.x(story.end);
    let _ = writeln!(svg, "<path class=\"waits\" d=\"{path}H{end:.1}V{base:.1}Z\"/>");
    let (x, top) = (LEFT - 8.0, y(most) + 12.0);
    let _ = writeln!(svg, "<text class=\"left\" x=\"{x}\" y=\"{top:.1}\">{most} wait</text>");
}

fn draw_cross(svg: &mut String, x: f64, y: f64, class: &str) {
    let (a, b, c, d) = (x - 3.5, y - 3.5, x + 3.5, y + 3.5);
    let _ = writeln!(
        svg,
        "<path class=\"cross {class}\" d=\"M{a:.1} {b:.1}L{c:.1} {d:.1}M{c:.1} {b:.1}L{a:.1} {d:.1}\"/>"
    );
}

fn draw_limit(svg: &mut String, story: &Story, scale: &Scale) {
    let end = story.stop.as_ref().map_or(story.end, |(at, _)| *at);
    let mut path = String::new();
    // `true` if the line goes on: it does not while there is no limit.
    let mut is_drawn = false;
    for (at, limit) in &story.limits {
        let x = scale.x(*at);
        let _ = match limit.map(|limit| scale.y(limit) - 1.0) {
            Some(y) if is_drawn => write!(path, "H{x:.1}V{y:.1}"),
            Some(y) => write!(path, "M{x:.1} {y:.1}"),
            None if is_drawn => write!(path, "H{x:.1}"),
            None => Ok(()),
        };
        is_drawn = limit.is_some();
    }
    if is_drawn {
        let _ = write!(path, "H{:.1}", scale.x(end));
    }
    if !path.is_empty() {
        let _ = writeln!(svg, "<path class=\"limit\" d=\"{path}\"/>");
    }
    for (at, limit) in &story.limits {
        let Some(limit) = *limit else { continue };
        let y = scale.y(limit);
        let _ = if *at == 0.0 {
            let (x, y) = (LEFT - 8.0, y + 4.0);
            writeln!(svg, "<text class=\"strong left\" x=\"{x}\" y=\"{y:.1}\">limit {limit}</text>")
        } else {
            let (x, y) = (scale.x(*at) - 6.0, y + 12.0);
            writeln!(
                svg,
                "<text class=\"strong left halo\" x=\"{x:.1}\" y=\"{y:.1}\">limit {limit}</text>"
            )
        };
    }
    let first = story.limits.first().and_then(|(_, limit)| *limit);
    let x = LEFT - 8.0;
    let base = scale.y(story.base(first));
    let (above, below) = (base - 50.0, base + (scale.floor - base).min(120.0) / 2.0);
    if !story.counts.is_empty() && !story.crowded {
        let _ = writeln!(svg, "<text class=\"left\" x=\"{x}\" y=\"{above:.1}\">waiting</text>");
    }
    let _ = writeln!(svg, "<text class=\"left\" x=\"{x}\" y=\"{below:.1}\">running</text>");
    if story.lanes > 0 {
        let y = scale.floor + LANE - 3.0;
        let _ = writeln!(svg, "<text class=\"left by\" x=\"{x}\" y=\"{y:.1}\">without room</text>");
    }
}

/// Draws the time after the stop.
fn draw_drain(svg: &mut String, story: &Story, scale: &Scale) {
    if let Some((stop, _)) = story.stop {
        let (left, right) = (scale.x(stop), scale.x(story.end));
        let (top, width) = (TOP - 14.0, right - left);
        let tall = scale.bottom - TOP + 14.0;
        let _ = writeln!(
            svg,
            "<rect class=\"drain\" x=\"{left:.1}\" y=\"{top}\" width=\"{width:.1}\" height=\"{tall:.1}\"/>"
        );
    }
}

/// The stop, and the notes.
fn draw_marks(svg: &mut String, story: &Story, scale: &Scale) {
    let (top, bottom) = (TOP - 14.0, scale.bottom);
    let mut mark = |class: &str, at: f64, text: &str| {
        let x = scale.x(at).min(WIDTH - RIGHT);
        let ty = top - 6.0;
        let half = text.chars().count() as f64 * LETTER / 2.0;
        let (anchor, tx) = match x {
            _ if x + half > WIDTH - 4.0 => ("left", WIDTH - RIGHT),
            _ if x - half < 4.0 => ("right", 4.0),
            _ => ("middle", x),
        };
        let text = escape(text);
        let _ = writeln!(
            svg,
            "<path class=\"mark {class}\" d=\"M{x:.1} {top}V{bottom:.1}\"/>\n\
             <text class=\"{anchor} {class}\" x=\"{tx:.1}\" y=\"{ty:.1}\">{text}</text>"
        );
    };
    for (at, text) in &story.notes {
        mark("note", *at, text);
    }
    let Some((stop, reason)) = &story.stop else {
        return;
    };
    mark("stop", *stop, &format!("stop: {reason}"));
    let (left, right) = (scale.x(*stop), scale.x(story.end));
    if right - left > 150.0 {
        let (x, y) = ((left + right) / 2.0, TOP + 8.0);
        let _ = writeln!(
            svg,
            "<text class=\"middle\" x=\"{x:.1}\" y=\"{y:.1}\">those that run are told,</text>\n\
             <text class=\"middle\" x=\"{x:.1}\" y=\"{:.1}\">and end</text>",
            y + 15.0
        );
    }
}

fn draw_axis(svg: &mut String, story: &Story, scale: &Scale) {
    let y = scale.bottom + 2.0;
    let right = WIDTH - RIGHT;
    let _ = writeln!(svg, "<path class=\"axis\" d=\"M{LEFT} {y:.1}H{right}\"/>");
    // One, two or five of a power of ten, and nine marks at most.
    let least = (story.end / 8.0).max(1e-7);
    let power = 10_f64.powf(least.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|it| it * power).into_iter().find(|it| *it >= least);
    let step = step.unwrap_or(least);
    for at in (0..).map(|n| f64::from(n) * step).take_while(|at| *at <= story.end) {
        let (x, ty, text) = (scale.x(at), y + 16.0, time_in(unit_of(story.end), at));
        let _ = writeln!(
            svg,
            "<path class=\"axis\" d=\"M{x:.1} {y:.1}v4\"/>\
             <text class=\"middle by\" x=\"{x:.1}\" y=\"{ty:.1}\">{text}</text>"
        );
    }
}

fn draw_legend(svg: &mut String, story: &Story, scale: &Scale) {
    let y = scale.bottom + 32.0;
    let mut x = LEFT;
    let mut entry = |class: &str, text: &str, x: &mut f64, y: f64| {
        let (tx, ty, shown) = (*x + 20.0, y + 11.0, escape(text));
        let _ = writeln!(
            svg,
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"14\" height=\"13\" rx=\"3\"/>\
             <text x=\"{tx:.1}\" y=\"{ty:.1}\">{shown}</text>"
        );
        *x += 48.0 + text.chars().count() as f64 * LETTER;
    };
    let mut kinds = vec![("waits", "waits"), ("ok", "finishes"), ("failed", "fails")];
    kinds.extend([("cut", "is dropped"), ("daemon", "daemon")]);
    if story.blocks.iter().any(|block| block.outcome.is_none()) {
        kinds.push(("goes", "goes on"));
    }
    for (class, text) in kinds {
        entry(class, text, &mut x, y);
    }
    if !story.keys.is_empty() {
        let mut x = LEFT;
        for (n, key) in story.keys.iter().enumerate() {
            let wide = 48.0 + key.chars().count() as f64 * LETTER;
            if n == COLOURS || x + wide > WIDTH - RIGHT - 100.0 {
                entry("none", &format!("{} keys more", story.keys.len() - n), &mut x, y + 20.0);
                break;
            }
            entry(&format!("key k{n}"), key, &mut x, y + 20.0);
        }
    }
    let mut about = Vec::new();
    if story.rejected > 0 {
        about.push(format!("{} rejected", story.rejected));
    }
    if story.blocks.iter().any(|block| block.label.weight > 1) {
        about.push("×2: weighs two".into());
    }
    about.push("recorded by an Observer".into());
    let (x, y, about) = (WIDTH - RIGHT, y + 11.0, about.join(" · "));
    let _ = writeln!(svg, "<text class=\"left by\" x=\"{x}\" y=\"{y:.1}\">{about}</text>");
}

/// The colours for a light page and for a dark one.
const STYLE: &str = "<style>
text { font: 12px system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif; fill: #3d4650 }
.left { text-anchor: end }
.middle { text-anchor: middle }
.right { text-anchor: start }
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
.goes { fill: #6f8fb3 }
.none { fill: none }
.k0 { fill: #e0a100 }
.k1 { fill: #1f9e89 }
.k2 { fill: #d1495b }
.k3 { fill: #7a5195 }
.k4 { fill: #5b8c2a }
.k5 { fill: #00a6d6 }
.k6 { fill: #a0522d }
.k7 { fill: #ef7fb3 }
.limit { fill: none; stroke: #1b232b; stroke-width: 2.5 }
.drain { fill: #f3efe6 }
.mark { fill: none; stroke-width: 1.5; stroke-dasharray: 5 4 }
path.stop { stroke: #c9352b }
path.note { stroke: #a8660a }
text.stop { fill: #c9352b; font-weight: 600 }
text.note { fill: #a8660a; font-weight: 600 }
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
.drain { fill: #1c1a15 }
path.stop { stroke: #ef6a60 }
path.note { stroke: #dda24a }
text.stop { fill: #ef6a60 }
text.note { fill: #dda24a }
.axis { stroke: #59636e }
.cross.off { stroke: #ef6a60 }
}
</style>
";
