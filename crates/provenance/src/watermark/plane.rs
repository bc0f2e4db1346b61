//! The luma of a picture and sums over squares of it.

use danqing_imaging::Picture;

/// Values in 0..255, row by row.
#[derive(Debug, Clone)]
pub(super) struct Plane {
    pub width: usize,
    pub height: usize,
    pub values: Vec<f32>,
}

impl Plane {
    /// Luma of BT.601 at full range.
    pub(super) fn luma(picture: &Picture) -> Self {
        let channels = picture.format().channels();
        let of = |pixel: &[u8]| match pixel {
            [r, g, b, ..] => 0.299 * f32::from(*r) + 0.587 * f32::from(*g) + 0.114 * f32::from(*b),
            [grey, ..] => f32::from(*grey),
            [] => 0.0,
        };
        Self {
            width: picture.width() as usize,
            height: picture.height() as usize,
            values: picture.pixels().chunks_exact(channels).map(of).collect(),
        }
    }

    pub(super) fn map(&self, value: impl Fn(usize, f32) -> f32) -> Self {
        let values = self.values.iter().enumerate().map(|(i, v)| value(i, *v)).collect();
        Self { values, ..*self }
    }

    /// The mean around each pixel, over squares of 2 `radius` + 1 that end at the borders.
    pub(super) fn mean(&self, radius: usize) -> Self {
        let Self { width, height, .. } = *self;
        let rows = slide(&self.values, width, height, radius);
        // The same again along the other side, turned both ways.
        let columns = slide(&turned(&rows, width, height), height, width, radius);
        Self { width, height, values: turned(&columns, height, width) }
    }

    /// The standard deviation around each pixel.
    pub(super) fn deviation(&self, radius: usize) -> Self {
        let (mean, square) = (self.mean(radius), self.map(|_, v| v * v).mean(radius));
        square.map(|i, v| (v - mean.values[i] * mean.values[i]).max(0.0).sqrt())
    }
}

/// Means along each row.
fn slide(values: &[f32], width: usize, height: usize, radius: usize) -> Vec<f32> {
    let mut means = vec![0.0; values.len()];
    for y in 0..height {
        let (row, means) = (&values[y * width..][..width], &mut means[y * width..][..width]);
        // In f64, so that what is added is taken away whole.
        let mut sum: f64 = row.iter().take(radius).map(|v| f64::from(*v)).sum();
        for x in 0..width {
            if let Some(next) = row.get(x + radius) {
                sum += f64::from(*next);
            }
            if x > radius {
                sum -= f64::from(row[x - radius - 1]);
            }
            let n = (x + radius + 1).min(width) - x.saturating_sub(radius);
            means[x] = (sum / n as f64) as f32;
        }
    }
    means
}

fn turned(values: &[f32], width: usize, height: usize) -> Vec<f32> {
    (0..width).flat_map(|x| (0..height).map(move |y| values[y * width + x])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_those_of_the_definition() {
        let (width, height, radius) = (7, 5, 2);
        let values = (0..35).map(|i| ((i * 37) % 11) as f32).collect::<Vec<_>>();
        let plane = Plane { width, height, values };
        let mean = plane.mean(radius);
        for y in 0..height {
            for x in 0..width {
                let (xs, ys) = (
                    x.saturating_sub(radius)..(x + radius + 1).min(width),
                    y.saturating_sub(radius)..(y + radius + 1).min(height),
                );
                let around: Vec<f32> = ys
                    .flat_map(|y| xs.clone().map(move |x| (x, y)))
                    .map(|(x, y)| plane.values[y * width + x])
                    .collect();
                let expected = around.iter().sum::<f32>() / around.len() as f32;
                assert!((mean.values[y * width + x] - expected).abs() < 1e-4);
            }
        }
    }
}
