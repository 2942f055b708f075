//! Small charts as inline SVG: axes, lines, bars. Colours come from the page's style sheet, so that they follow its theme.

use std::fmt::Write;

/// Size of a chart's plane and its margins, in pixels of its own coordinates.
const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 44.0;

/// How values turn into places on an axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scale {
    /// Evenly from low to high.
    Linear(f64, f64),
    /// By powers of ten, from low to high; lower values stand at the start.
    Log(f64, f64),
    /// By log-odds, from 0.0001 to 0.9999: scores close to 0 and close to 1 are told apart.
    Odds,
}

const ODDS_END: f64 = 1e-4;

fn log_odds(p: f64) -> f64 {
    let p = p.clamp(ODDS_END, 1.0 - ODDS_END);
    (p / (1.0 - p)).ln()
}

impl Scale {
    /// 0 at the start of the axis, 1 at its end.
    fn place(self, value: f64) -> f64 {
        let share = match self {
            Scale::Linear(low, high) => (value - low) / (high - low),
            Scale::Log(low, high) => (value.max(low) / low).ln() / (high / low).ln(),
            Scale::Odds => log_odds(value) / log_odds(1.0) * 0.5 + 0.5,
        };
        if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 }
    }

    /// Where to write numbers, and which.
    fn ticks(self) -> Vec<(f64, String)> {
        let plain = |v: f64| {
            let text = format!("{v:.6}");
            text.trim_end_matches('0').trim_end_matches('.').to_string()
        };
        match self {
            Scale::Linear(low, high) => {
                let step = nice((high - low) / 5.0);
                let mut out = Vec::new();
                let mut at = (low / step).ceil() * step;
                while at <= high + step * 1e-9 && out.len() < 20 {
                    out.push((at, plain(at)));
                    at += step;
                }
                out
            }
            Scale::Log(low, high) => {
                let mut out = Vec::new();
                let mut at = 10f64.powf(low.log10().ceil());
                while at <= high * 1.000_001 && out.len() < 20 {
                    let text =
                        if at >= 1000.0 { format!("{:.0}k", at / 1000.0) } else { plain(at) };
                    out.push((at, text));
                    at *= 10.0;
                }
                out
            }
            Scale::Odds => {
                [0.0001, 0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999].map(|v| (v, plain(v))).to_vec()
            }
        }
    }
}

/// 1, 2 or 5 times a power of ten, at least as large.
fn nice(step: f64) -> f64 {
    if !(step.is_finite() && step > 0.0) {
        return 1.0;
    }
    let power = 10f64.powf(step.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .map(|f| f * power)
        .into_iter()
        .find(|s| *s >= step * 0.999)
        .unwrap_or(step)
}

/// A chart that is being drawn.
pub struct Chart {
    x: Scale,
    y: Scale,
    body: String,
    title: String,
}

impl Chart {
    /// An empty plane. `title` is read out by screen readers.
    pub fn new(title: &str, x: (Scale, &str), y: (Scale, &str)) -> Self {
        let mut chart = Self { x: x.0, y: y.0, body: String::new(), title: title.to_string() };
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for (value, text) in y.0.ticks() {
            let at = chart.down(value);
            chart.add(format_args!(
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>",
                LEFT - 6.0,
                at + 4.0
            ));
        }
        for (value, text) in x.0.ticks() {
            let at = chart.across(value);
            chart.add(format_args!(
                "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/><text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{text}</text>",
                bottom + 16.0
            ));
        }
        chart.add(format_args!(
            "<path class=\"axis\" d=\"M{LEFT} {TOP}V{bottom}H{right}\"/><text class=\"name\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text><text class=\"name\" transform=\"translate(13 {:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            (LEFT + right) / 2.0,
            HEIGHT - 8.0,
            escape(x.1),
            (TOP + bottom) / 2.0,
            escape(y.1)
        ));
        chart
    }

    fn add(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.body.write_fmt(text);
    }

    fn across(&self, x: f64) -> f64 {
        LEFT + self.x.place(x) * (WIDTH - LEFT - RIGHT)
    }

    fn down(&self, y: f64) -> f64 {
        let bottom = HEIGHT - BOTTOM;
        bottom - self.y.place(y) * (bottom - TOP)
    }

    /// A line through points, in their order; points that are no numbers are left out. `step`: level until the next point.
    pub fn line(&mut self, class: &str, points: impl IntoIterator<Item = (f64, f64)>, step: bool) {
        let mut path = String::new();
        for (x, y) in points.into_iter().filter(|(x, y)| x.is_finite() && y.is_finite()) {
            let (x, y) = (self.across(x), self.down(y));
            let _ = match (path.is_empty(), step) {
                (true, _) => write!(path, "M{x:.1} {y:.1}"),
                (false, true) => write!(path, "H{x:.1}V{y:.1}"),
                (false, false) => write!(path, "L{x:.1} {y:.1}"),
            };
        }
        if !path.is_empty() {
            self.add(format_args!("<path class=\"line {class}\" d=\"{path}\"/>"));
        }
    }

    /// A dot with a text that shows when pointed at.
    pub fn dot(&mut self, class: &str, (x, y): (f64, f64), text: &str) {
        if x.is_finite() && y.is_finite() {
            let (x, y) = (self.across(x), self.down(y));
            self.add(format_args!(
                "<circle class=\"dot {class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"><title>{}</title></circle>",
                escape(text)
            ));
        }
    }

    /// A bar from the bottom, `from` to `to` across, with a text that shows when pointed at.
    pub fn bar(&mut self, class: &str, (from, to): (f64, f64), height: f64, text: &str) {
        let (left, right, top) = (self.across(from), self.across(to), self.down(height));
        let bottom = HEIGHT - BOTTOM;
        if height > 0.0 && bottom > top {
            self.add(format_args!(
                "<rect class=\"bar {class}\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\"><title>{}</title></rect>",
                (right - left - 0.6).max(0.6),
                bottom - top,
                escape(text)
            ));
        }
    }

    /// A line across the whole plane at one place of the x axis, with a name at its top.
    pub fn mark(&mut self, x: f64, name: &str) {
        if x.is_finite() {
            let at = self.across(x);
            self.add(format_args!(
                "<line class=\"mark\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{:.1}\"><title>{}</title></line>",
                HEIGHT - BOTTOM,
                escape(name)
            ));
        }
    }

    /// The picture.
    pub fn finish(self) -> String {
        format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">{}</svg>",
            escape(&self.title),
            self.body
        )
    }
}

/// Text that is safe inside of elements and quoted attributes.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
