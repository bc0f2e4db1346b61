//! A line chart as a picture: the loss of a training run over its steps.

use crate::lettering::{draw_text, fill_rectangle, line_height, text_width};
use crate::{ImagingError, Picture};

/// One line of a chart.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// Points (x, y) in order of x; points that are not finite make a gap.
    pub points: Vec<(f64, f64)>,
}

/// How a chart looks.
#[derive(Clone, Debug, PartialEq)]
pub struct ChartOptions {
    /// Width in pixels, at least 160.
    pub width: u32,
    /// Height in pixels, at least 120.
    pub height: u32,
    /// Above the chart; ASCII.
    pub title: String,
    /// Below the horizontal axis; ASCII.
    pub x_label: String,
    /// A logarithmic vertical axis; values that are not above 0 make a gap.
    pub log_y: bool,
}

impl Default for ChartOptions {
    fn default() -> Self {
        Self { width: 960, height: 540, title: String::new(), x_label: "step".to_owned(), log_y: false }
    }
}

const BACKGROUND: [u8; 3] = [255, 255, 255];
const INK: [u8; 3] = [40, 40, 40];
const GRID: [u8; 3] = [224, 224, 224];
const COLOURS: [[u8; 3]; 6] =
    [[31, 101, 174], [204, 60, 44], [42, 143, 72], [148, 90, 170], [222, 140, 20], [90, 90, 90]];
const SCALE: u32 = 2;
const TICKS: usize = 6;

/// Draws the lines with axes, round numbers and, for more than one, a legend. A chart without a finite point is empty
/// axes.
///
/// # Errors
/// [`ImagingError::Argument`] when the size is too small or too large.
pub fn line_chart(series: &[Series], options: &ChartOptions) -> Result<Picture, ImagingError> {
    if !(160..=16_384).contains(&options.width) || !(120..=16_384).contains(&options.height) {
        return Err(ImagingError::argument("chart size", "wants 160x120 to 16384x16384"));
    }
    let height_of = |y: f64| if options.log_y { y.log10() } else { y };
    let lines: Vec<Vec<(f64, f64)>> =
        series.iter().map(|s| s.points.iter().map(|&(x, y)| (x, height_of(y))).collect()).collect();
    let finite = || lines.iter().flatten().filter(|(x, y)| x.is_finite() && y.is_finite());
    let x_axis = Axis::over(finite().map(|p| p.0), false);
    let y_axis = Axis::over(finite().map(|p| p.1), options.log_y);

    let mut picture = Picture::filled(options.width, options.height, &BACKGROUND)?;
    let line = i64::from(line_height(SCALE));
    let widest = y_axis.ticks().map(|(_, text)| text_width(&text, SCALE)).max().unwrap_or(0);
    let area = Area {
        left: i64::from(widest) + 16,
        top: if options.title.is_empty() { 12 } else { line + 16 },
        right: i64::from(options.width) - 16,
        bottom: i64::from(options.height) - 2 * line - 14,
    };
    draw_text(&mut picture, &options.title, area.left, 8, SCALE, INK);
    let label_left = (area.left + area.right - i64::from(text_width(&options.x_label, SCALE))) / 2;
    draw_text(&mut picture, &options.x_label, label_left, area.bottom + line + 8, SCALE, INK);
    draw_axes(&mut picture, &area, &x_axis, &y_axis);
    for (points, colour) in lines.iter().zip(COLOURS.into_iter().cycle()) {
        let mut before = None;
        for (x, y) in points {
            let here = (x.is_finite() && y.is_finite()).then(|| (area.x(x_axis.place(*x)), area.y(y_axis.place(*y))));
            if let Some(here) = here {
                draw_line(&mut picture, before.unwrap_or(here), here, colour);
            }
            before = here;
        }
    }
    if series.len() > 1 {
        draw_legend(&mut picture, &area, series);
    }
    Ok(picture)
}

fn draw_axes(picture: &mut Picture, area: &Area, x_axis: &Axis, y_axis: &Axis) {
    for (value, text) in x_axis.ticks() {
        let x = area.x(x_axis.place(value));
        fill_rectangle(picture, x, area.top, 1, area.bottom - area.top, GRID);
        let width = i64::from(text_width(&text, SCALE));
        let left = (x - width / 2).min(i64::from(picture.width()) - width - 2);
        draw_text(picture, &text, left, area.bottom + 6, SCALE, INK);
    }
    for (value, text) in y_axis.ticks() {
        let y = area.y(y_axis.place(value));
        fill_rectangle(picture, area.left, y, area.right - area.left, 1, GRID);
        draw_text(picture, &text, area.left - 8 - i64::from(text_width(&text, SCALE)), y - 7, SCALE, INK);
    }
    fill_rectangle(picture, area.left, area.top, 2, area.bottom - area.top, INK);
    fill_rectangle(picture, area.left, area.bottom, area.right - area.left, 2, INK);
}

fn draw_legend(picture: &mut Picture, area: &Area, series: &[Series]) {
    let widest = series.iter().map(|s| i64::from(text_width(&s.name, SCALE))).max().unwrap_or(0);
    let left = area.right - widest - 8;
    for ((index, series), colour) in (0i64..).zip(series).zip(COLOURS.into_iter().cycle()) {
        let top = area.top + 8 + index * i64::from(line_height(SCALE));
        fill_rectangle(picture, left - 24, top + 5, 16, 4, colour);
        draw_text(picture, &series.name, left, top, SCALE, INK);
    }
}

/// Where the lines are drawn.
struct Area {
    left: i64,
    top: i64,
    right: i64,
    bottom: i64,
}

impl Area {
    fn x(&self, place: f64) -> i64 {
        self.left + (place * (self.right - self.left) as f64).round() as i64
    }

    fn y(&self, place: f64) -> i64 {
        self.bottom - (place * (self.bottom - self.top) as f64).round() as i64
    }
}

/// A range widened to round numbers.
struct Axis {
    start: f64,
    step: f64,
    count: usize,
    log: bool,
}

impl Axis {
    fn over(values: impl Iterator<Item = f64>, log: bool) -> Self {
        let (mut low, mut high) = values.fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(v), h.max(v)));
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        // Ranges at the end of what doubles hold are drawn as if they were a little smaller.
        (low, high) = (low.clamp(-1e300, 1e300), high.clamp(-1e300, 1e300));
        let least = (low.abs().max(high.abs()) * 1e-9).max(1e-300);
        let rough = (high - low).max(least) / (TICKS - 1) as f64;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|m| m * power).into_iter().find(|s| *s >= rough * 0.999);
        let step = step.unwrap_or(10.0 * power);
        let start = (low / step + 1e-6).floor() * step;
        let count = (((high - start) / step - 1e-6).ceil() as usize).clamp(1, 2 * TICKS);
        Self { start, step, count, log }
    }

    fn place(&self, value: f64) -> f64 {
        ((value - self.start) / (self.step * self.count as f64)).clamp(0.0, 1.0)
    }

    fn ticks(&self) -> impl Iterator<Item = (f64, String)> {
        (0..=self.count).map(|i| {
            let value = self.start + self.step * i as f64;
            // What should be zero is often a rounding error away from it.
            let value = if value.abs() < self.step * 1e-6 { 0.0 } else { value };
            (value, self.label(value))
        })
    }

    fn label(&self, value: f64) -> String {
        if self.log {
            return short_number(10f64.powf(value));
        }
        let digits = (-self.step.log10().floor()).clamp(0.0, 12.0) as usize;
        let step = self.step;
        if value.abs() >= 1e9 || (digits > 6 && value != 0.0) {
            format!("{value:.2e}")
        } else if value != 0.0 && step >= 1e5 {
            format!("{}M", trimmed(value / 1e6, 2))
        } else if value != 0.0 && step >= 1e3 {
            format!("{}k", trimmed(value / 1e3, 1))
        } else {
            format!("{value:.digits$}")
        }
    }
}

fn short_number(value: f64) -> String {
    if (1e-3..1e5).contains(&value) { trimmed(value, 4) } else { format!("{value:.1e}") }
}

/// At most `digits` decimals, without zeros at the end.
fn trimmed(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A line two pixels wide.
fn draw_line(picture: &mut Picture, from: (i64, i64), to: (i64, i64), ink: [u8; 3]) {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let count = dx.abs().max(dy.abs()).max(1);
    for i in 0..=count {
        fill_rectangle(picture, from.0 + dx * i / count, from.1 + dy * i / count, 2, 2, ink);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(values: &[f64], log: bool) -> Vec<String> {
        Axis::over(values.iter().copied(), log).ticks().map(|(_, text)| text).collect()
    }

    #[test]
    fn axes_have_round_numbers_that_enclose_the_values() {
        assert_eq!(labels(&[0.0, 1.0], false), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(&[0.0, 95_000.0], false), ["0", "20k", "40k", "60k", "80k", "100k"]);
        assert_eq!(labels(&[-2.0, 0.0], true), ["0.01", "0.0316", "0.1", "0.3162", "1"]);
        for values in [&[3.0][..], &[], &[0.0], &[-1e-30, 1e-30], &[1e308, -1e308], &[0.123, 0.124]] {
            let axis = Axis::over(values.iter().copied(), false);
            assert!(axis.step > 0.0 && axis.ticks().count() < 20, "{values:?}");
            assert!(values.iter().all(|v| (0.0..=1.0).contains(&axis.place(*v))), "{values:?}");
        }
    }

    #[test]
    fn a_falling_line_falls_and_gaps_stay_open() {
        let points = vec![(0.0, 1.0), (50.0, 0.5), (60.0, f64::NAN), (100.0, 0.1)];
        let series = [Series { name: "train".to_owned(), points }];
        let options = ChartOptions { width: 320, height: 200, title: "loss".to_owned(), ..ChartOptions::default() };
        let chart = line_chart(&series, &options).unwrap();
        let at = |x: u32| (0..200).find(|&y| chart.pixel(x, y) == Some(&COLOURS[0][..]));
        let line: Vec<(u32, u32)> = (0..320).filter_map(|x| Some((x, at(x)?))).collect();
        assert!(line[0].1 < line[line.len() / 2].1 && line[line.len() / 2].1 < line[line.len() - 1].1);
        assert!(line.windows(2).any(|pair| pair[1].0 > pair[0].0 + 20), "the gap is closed");
        assert!(line_chart(&series, &ChartOptions { width: 3, ..options }).is_err());
    }

    #[test]
    fn nothing_to_draw_and_values_without_logarithm_are_no_error() {
        let none = Series { name: String::new(), points: vec![(0.0, 0.0), (f64::INFINITY, -1.0)] };
        for log_y in [false, true] {
            let options = ChartOptions { log_y, ..ChartOptions::default() };
            assert!(line_chart(&[none.clone(), none.clone()], &options).is_ok());
            assert!(line_chart(&[], &options).is_ok());
        }
    }
}
