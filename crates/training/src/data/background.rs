//! Backgrounds: plain colours (sometimes a soft gradient of them) and four procedural places.

use super::colour::Lab;
use super::dice::Dice;

/// A background with its names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Background {
    /// English: a colour word, or the place as it follows its preposition.
    pub en: &'static str,
    /// Chinese: 白色, or the place (草地).
    pub zh: &'static str,
    /// Mean colour.
    pub rgb: [u8; 3],
    /// Its phrase if it is a place ("on the grass", "草地上"); a plain colour has none.
    pub place: Option<[&'static str; 2]>,
}

const fn plain(en: &'static str, zh: &'static str, rgb: [u8; 3]) -> Background {
    Background { en, zh, rgb, place: None }
}

const fn place(en: &'static str, zh: &'static str, rgb: [u8; 3], phrase: [&'static str; 2]) -> Background {
    Background { en, zh, rgb, place: Some(phrase) }
}

/// All backgrounds; a background id is an index into this list. White is the first.
pub const BACKGROUNDS: [Background; 14] = [
    plain("white", "白色", [253, 253, 253]),
    plain("black", "黑色", [16, 16, 18]),
    plain("gray", "灰色", [148, 149, 152]),
    plain("red", "红色", [216, 48, 48]),
    plain("orange", "橙色", [246, 148, 54]),
    plain("yellow", "黄色", [250, 222, 92]),
    plain("green", "绿色", [86, 178, 92]),
    plain("blue", "蓝色", [74, 128, 230]),
    plain("purple", "紫色", [142, 82, 196]),
    plain("pink", "粉色", [248, 170, 204]),
    place("sky", "天空", [150, 200, 246], ["in the sky", "天空中"]),
    place("grass", "草地", [146, 198, 162], ["on the grass", "草地上"]),
    place("sea", "大海", [84, 160, 214], ["in the sea", "大海里"]),
    place("night", "夜晚", [22, 28, 66], ["at night", "夜晚"]),
];

/// Number of plain colours, which stand first.
pub const PLAIN_BACKGROUNDS: usize = 10;

/// Mean colour of a background.
pub fn mean_colour(background: usize) -> Lab {
    Lab::from_rgb(BACKGROUNDS.get(background).map_or([255; 3], |b| b.rgb))
}

fn mix(x: [f32; 3], y: [f32; 3], t: f32) -> [f32; 3] {
    let t = t.clamp(0.0, 1.0);
    [0, 1, 2].map(|c| x[c] + (y[c] - x[c]) * t)
}

fn bytes(colour: [f32; 3]) -> [u8; 3] {
    colour.map(|v| (v + 0.5).clamp(0.0, 255.0) as u8)
}

fn fill_rows(picture: &mut [u8], side: usize, mut colour: impl FnMut(f32) -> [f32; 3]) {
    for (y, row) in picture.chunks_exact_mut(side * 3).enumerate() {
        let value = bytes(colour(y as f32 / side as f32));
        for pixel in row.chunks_exact_mut(3) {
            pixel.copy_from_slice(&value);
        }
    }
}

/// Fills a square RGB picture of `side` pixels with a background.
pub fn fill(picture: &mut [u8], side: usize, background: usize, dice: &mut Dice) {
    let Some(entry) = BACKGROUNDS.get(background) else {
        return;
    };
    let base = entry.rgb.map(f32::from);
    match entry.en {
        "sky" => {
            let low = [206.0, 232.0, 252.0];
            fill_rows(picture, side, |t| mix([112.0, 176.0, 242.0], low, t));
            for _ in 0..1 + dice.below(3) {
                cloud(picture, side, dice);
            }
        }
        "grass" => {
            let horizon = dice.between(0.45, 0.62);
            fill_rows(picture, side, |t| {
                if t < horizon {
                    mix([158.0, 208.0, 248.0], [218.0, 238.0, 252.0], t / horizon)
                } else {
                    let depth = (t - horizon) / (1.0 - horizon);
                    mix([138.0, 200.0, 98.0], [72.0, 158.0, 66.0], depth)
                }
            });
        }
        "sea" => {
            let horizon = dice.between(0.28, 0.42);
            let phase = dice.between(0.0, 6.0);
            fill_rows(picture, side, |t| {
                if t < horizon {
                    mix([168.0, 214.0, 248.0], [226.0, 242.0, 252.0], t / horizon)
                } else {
                    let depth = (t - horizon) / (1.0 - horizon);
                    let swell = 8.0 * (depth * 26.0 + phase).sin();
                    mix([64.0, 160.0, 214.0], [24.0, 96.0, 172.0], depth).map(|v| v + swell)
                }
            });
        }
        "night" => {
            fill_rows(picture, side, |t| mix([12.0, 16.0, 48.0], [38.0, 46.0, 92.0], t));
            for _ in 0..10 + dice.below(12) {
                let at = (dice.below(side) * side + dice.below(side)) * 3;
                let light = dice.between(150.0, 245.0) as u8;
                picture[at..at + 3].copy_from_slice(&[light, light, light.saturating_sub(30)]);
            }
        }
        _ => {
            let shift = dice.between(-5.0, 5.0);
            let jittered = base.map(|v| v + shift);
            if dice.chance(0.25) {
                let strength = dice.between(0.12, 0.3);
                let towards = if dice.chance(0.5) { 255.0 } else { 0.0 };
                // Towards black, and from black towards white, the eye sees a step sooner.
                let strong = towards == 255.0 && base[0] > 40.0;
                let strength = if strong { strength } else { strength * 0.6 };
                let up = dice.chance(0.5);
                let end = mix(jittered, [towards; 3], strength);
                fill_rows(picture, side, |t| mix(jittered, end, if up { 1.0 - t } else { t }));
            } else {
                fill_rows(picture, side, |_| jittered);
            }
        }
    }
}

fn cloud(picture: &mut [u8], side: usize, dice: &mut Dice) {
    let size = side as f32;
    let (x0, y0) = (dice.unit() * size, dice.between(0.05, 0.6) * size);
    let (w, h) = (dice.between(0.1, 0.2) * size, dice.between(0.03, 0.06) * size);
    for y in (y0 - h).max(0.0) as usize..((y0 + h) as usize + 1).min(side) {
        for x in (x0 - w).max(0.0) as usize..((x0 + w) as usize + 1).min(side) {
            let (dx, dy) = ((x as f32 - x0) / w, (y as f32 - y0) / h);
            let cover = (1.0 - dx * dx - dy * dy).clamp(0.0, 1.0) * 0.8;
            for value in &mut picture[(y * side + x) * 3..][..3] {
                *value = (f32::from(*value) + (252.0 - f32::from(*value)) * cover) as u8;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_background_is_near_its_mean_colour() {
        for (id, entry) in BACKGROUNDS.iter().enumerate() {
            for index in 0..8 {
                let mut picture = vec![0; 64 * 64 * 3];
                fill(&mut picture, 64, id, &mut Dice::new(1, index));
                let mut mean = [0.0_f32; 3];
                for pixel in picture.chunks(3) {
                    for c in 0..3 {
                        mean[c] += f32::from(pixel[c]) / 4096.0;
                    }
                }
                let distance = Lab::from_rgb(bytes(mean)).distance(mean_colour(id));
                assert!(distance < 0.1, "{} {distance} {mean:?}", entry.en);
            }
        }
    }
}
