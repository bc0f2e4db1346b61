//! Raw moving pictures in a pipe, one frame at a time: YUV4MPEG2, or RGB bytes of a size that is known beforehand.
//!
//! Sources: the yuv4mpeg(5) manual page of mjpegtools; ITU-R BT.601 and BT.709 for the colours; ITU-T H.273 for where 4:2:0
//! colour samples lie. Of YUV4MPEG2 progressive frames of 8 bits are read.

use std::io::{self, BufRead, Write};

use crate::{DecodeLimits, ImagingError};

/// Longest line of a header.
const LONGEST_LINE: u64 = 1024;
const MAGIC: &str = "YUV4MPEG2";

/// How the frames of a pipe are laid out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoHeader {
    /// Width of every frame in pixels.
    pub width: u32,
    /// Height of every frame in pixels.
    pub height: u32,
    /// How the values of a frame lie.
    pub layout: VideoLayout,
}

/// How the values of a frame lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VideoLayout {
    /// Red, green and blue bytes, pixel by pixel, without anything between frames.
    Rgb24,
    /// YUV4MPEG2: planes of luma and, unless it is grey, of two colour differences.
    Yuv {
        /// How the colour differences are sampled.
        sampling: Sampling,
        /// Values of 0..255 instead of 16..235 (colours: 16..240).
        full_range: bool,
        /// The header's other words (rate, aspect, comments), which are handed on.
        words: Vec<String>,
    },
}

/// How colour differences are sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampling {
    /// None: grey.
    Mono,
    /// One for each pixel.
    S444,
    /// One for two pixels of a row, at the left one.
    S422,
    /// One for two by two pixels, between the left ones (MPEG-2, H.264).
    S420Left,
    /// One for two by two pixels, in their middle (JPEG, MPEG-1).
    S420Centre,
}

impl Sampling {
    fn of(word: &str) -> Option<Self> {
        match word {
            "mono" => Some(Self::Mono),
            "444" => Some(Self::S444),
            "422" => Some(Self::S422),
            "420mpeg2" => Some(Self::S420Left),
            // The manual page and all writers take plain 420 for 420jpeg.
            "420" | "420jpeg" => Some(Self::S420Centre),
            _ => None,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Mono => "mono",
            Self::S444 => "444",
            Self::S422 => "422",
            Self::S420Left => "420mpeg2",
            Self::S420Centre => "420jpeg",
        }
    }

    /// Sides of a colour plane.
    fn plane(self, width: usize, height: usize) -> (usize, usize) {
        match self {
            Self::Mono => (0, 0),
            Self::S444 => (width, height),
            Self::S422 => (width.div_ceil(2), height),
            Self::S420Left | Self::S420Centre => (width.div_ceil(2), height.div_ceil(2)),
        }
    }
}

impl VideoHeader {
    /// RGB frames of this size.
    ///
    /// # Errors
    /// [`ImagingError::TooLarge`]; [`ImagingError::Argument`] for a side of zero.
    pub fn rgb24(width: u32, height: u32, limits: &DecodeLimits) -> Result<Self, ImagingError> {
        Self { width, height, layout: VideoLayout::Rgb24 }.checked(limits)
    }

    /// Reads the first line of a YUV4MPEG2 stream.
    ///
    /// # Errors
    /// [`ImagingError::Damaged`] when it is none, [`ImagingError::Unsupported`] for interlaced frames, other depths and
    /// samplings, [`ImagingError::TooLarge`].
    pub fn read(input: &mut impl BufRead, limits: &DecodeLimits) -> Result<Self, ImagingError> {
        let line = line(input)?.ok_or_else(|| damaged("it is empty"))?;
        let mut words = line.split_ascii_whitespace();
        if words.next() != Some(MAGIC) {
            return Err(damaged("it does not begin with YUV4MPEG2; ffmpeg writes that with -f yuv4mpegpipe"));
        }
        let (mut width, mut height) = (0, 0);
        let (mut sampling, mut full_range) = (Sampling::S420Centre, false);
        let mut kept = Vec::new();
        for word in words {
            let Some(kind) = word.get(..1) else { return Err(damaged("its header is not plain ASCII")) };
            let rest = &word[1..];
            let side = || rest.parse::<u32>().map_err(|_| damaged(format!("its header names a side of {rest:?}")));
            match kind {
                "W" => width = side()?,
                "H" => height = side()?,
                "C" => {
                    sampling = Sampling::of(rest).ok_or_else(|| {
                        let what = format!("colours sampled as {rest}");
                        unsupported(what, "convert them with ffmpeg's -pix_fmt yuv420p, yuv422p, yuv444p or gray")
                    })?;
                }
                "I" if matches!(rest, "p" | "?") => {}
                "I" => {
                    return Err(unsupported(
                        "interlaced frames".into(),
                        "deinterlace them first, as by ffmpeg's -vf yadif",
                    ));
                }
                _ => {
                    full_range |= word == "XCOLORRANGE=FULL";
                    // An extension that repeats the sampling in other words is left to the C word.
                    if !word.starts_with("XYSCSS=") {
                        kept.push(word.to_owned());
                    }
                }
            }
        }
        Self { width, height, layout: VideoLayout::Yuv { sampling, full_range, words: kept } }.checked(limits)
    }

    fn checked(self, limits: &DecodeLimits) -> Result<Self, ImagingError> {
        if self.width == 0 || self.height == 0 {
            return Err(ImagingError::argument("frame size", format!("{}x{} has no pixels", self.width, self.height)));
        }
        limits.check_size(self.width, self.height)?;
        Ok(self)
    }

    /// The same layout at another size.
    #[must_use]
    pub fn resized(&self, width: u32, height: u32) -> Self {
        Self { width, height, layout: self.layout.clone() }
    }

    /// Writes the first line; RGB frames have none.
    ///
    /// # Errors
    /// What `output` says.
    pub fn write(&self, output: &mut impl Write) -> io::Result<()> {
        let VideoLayout::Yuv { sampling, words, .. } = &self.layout else { return Ok(()) };
        write!(output, "{MAGIC} W{} H{}", self.width, self.height)?;
        for word in words {
            write!(output, " {word}")?;
        }
        writeln!(output, " Ip C{}", sampling.word())
    }

    /// Bytes of one frame without its own header.
    pub fn frame_bytes(&self) -> usize {
        let (width, height) = (self.width as usize, self.height as usize);
        match &self.layout {
            VideoLayout::Rgb24 => width * height * 3,
            VideoLayout::Yuv { sampling, .. } => {
                let (w, h) = sampling.plane(width, height);
                width * height + 2 * w * h
            }
        }
    }

    /// Reads the next frame into `frame`, which is brought to [`VideoHeader::frame_bytes`]; false at the end of the stream.
    ///
    /// # Errors
    /// [`ImagingError::Damaged`] when the stream ends within a frame or holds something else.
    pub fn read_frame(&self, input: &mut impl BufRead, frame: &mut Vec<u8>) -> Result<bool, ImagingError> {
        match &self.layout {
            VideoLayout::Rgb24 => {
                if input.fill_buf().map_err(broken)?.is_empty() {
                    return Ok(false);
                }
            }
            VideoLayout::Yuv { .. } => match line(input)? {
                None => return Ok(false),
                Some(line) if line == "FRAME" || line.starts_with("FRAME ") => {}
                Some(_) => return Err(damaged("something stands between two frames")),
            },
        }
        frame.resize(self.frame_bytes(), 0);
        input.read_exact(frame).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => damaged(format!("it ends within a frame of {} bytes", self.frame_bytes())),
            _ => broken(e),
        })?;
        Ok(true)
    }

    /// Writes a frame of [`VideoHeader::frame_bytes`].
    ///
    /// # Errors
    /// What `output` says.
    pub fn write_frame(&self, output: &mut impl Write, frame: &[u8]) -> io::Result<()> {
        if matches!(self.layout, VideoLayout::Yuv { .. }) {
            output.write_all(b"FRAME\n")?;
        }
        output.write_all(frame)
    }

    /// A frame's colours, `[height, width, 3]`, in 0..1 and a little beyond where the stream does so. Frames at least 720 high are taken for BT.709,
    /// others for BT.601: the stream does not say, and the way back takes the same.
    pub fn to_unit_f32(&self, frame: &[u8]) -> Vec<f32> {
        let VideoLayout::Yuv { sampling, full_range, .. } = self.layout else {
            return frame.iter().map(|v| f32::from(*v) / 255.0).collect();
        };
        let (width, height) = (self.width as usize, self.height as usize);
        let (w, h) = sampling.plane(width, height);
        let (lumas, colours) = frame.split_at(width * height);
        let (us, vs) = colours.split_at(w * h);
        let range = Range::of(full_range);
        let [kr, kb] = weights(self.height);
        let kg = 1.0 - kr - kb;
        let mut out = Vec::with_capacity(width * height * 3);
        let (mut u, mut v) = (vec![0.0; width], vec![0.0; width]);
        for (y, row) in lumas.chunks_exact(width).enumerate() {
            if sampling != Sampling::Mono {
                spread_row(us, (w, h), sampling, y, &mut u);
                spread_row(vs, (w, h), sampling, y, &mut v);
            }
            for ((luma, u), v) in row.iter().zip(&u).zip(&v) {
                let luma = (f32::from(*luma) - range.black) / range.luma;
                let (pb, pr) = match sampling {
                    Sampling::Mono => (0.0, 0.0),
                    _ => ((u - 128.0) / range.colour, (v - 128.0) / range.colour),
                };
                let (red, blue) = (luma + 2.0 * (1.0 - kr) * pr, luma + 2.0 * (1.0 - kb) * pb);
                out.extend([red, (luma - kr * red - kb * blue) / kg, blue]);
            }
        }
        out
    }

    /// The way back from [`VideoHeader::to_unit_f32`] for a frame of this header's size, into `frame`. `matrix_height` is the height of the frame that
    /// the values came from, so that both ways take the same matrix.
    ///
    /// # Errors
    /// [`ImagingError::Shape`] when the length does not fit.
    pub fn from_unit_f32(&self, values: &[f32], matrix_height: u32, frame: &mut Vec<u8>) -> Result<(), ImagingError> {
        let (width, height) = (self.width as usize, self.height as usize);
        if values.len() != width * height * 3 {
            let (expected, found) = (width as u64 * height as u64 * 3, values.len() as u64);
            return Err(ImagingError::Shape { width: self.width, height: self.height, channels: 3, expected, found });
        }
        frame.clear();
        // `as` saturates; adding one half rounds to the nearest.
        let VideoLayout::Yuv { sampling, full_range, .. } = self.layout else {
            frame.extend(values.iter().map(|v| (v * 255.0 + 0.5) as u8));
            return Ok(());
        };
        let range = Range::of(full_range);
        let [kr, kb] = weights(matrix_height);
        let luma = |p: &[f32]| kr * p[0] + (1.0 - kr - kb) * p[1] + kb * p[2];
        frame.extend(values.chunks_exact(3).map(|p| (range.black + range.luma * luma(p) + 0.5) as u8));
        let (w, h) = sampling.plane(width, height);
        for (channel, scale) in [(2, 2.0 * (1.0 - kb)), (0, 2.0 * (1.0 - kr))] {
            let at = |y: usize, x: usize| {
                let pixel = &values[(y.min(height - 1) * width + x.min(width - 1)) * 3..][..3];
                (pixel[channel] - luma(pixel)) / scale
            };
            for y in 0..h {
                for x in 0..w {
                    let difference = match sampling {
                        Sampling::Mono => 0.0,
                        Sampling::S444 => at(y, x),
                        Sampling::S422 => left_mean(|x| at(y, x), x),
                        Sampling::S420Left => {
                            (left_mean(|x| at(2 * y, x), x) + left_mean(|x| at(2 * y + 1, x), x)) / 2.0
                        }
                        Sampling::S420Centre => {
                            let pair = |y| at(y, 2 * x) + at(y, 2 * x + 1);
                            (pair(2 * y) + pair(2 * y + 1)) / 4.0
                        }
                    };
                    frame.push((128.0 + range.colour * difference + 0.5) as u8);
                }
            }
        }
        Ok(())
    }
}

/// Black, and steps from black to white and of a colour difference from end to end.
struct Range {
    black: f32,
    luma: f32,
    colour: f32,
}

impl Range {
    fn of(full: bool) -> Self {
        if full {
            Self { black: 0.0, luma: 255.0, colour: 255.0 }
        } else {
            Self { black: 16.0, luma: 219.0, colour: 224.0 }
        }
    }
}

/// Shares of red and blue in luma.
fn weights(height: u32) -> [f32; 2] {
    if height >= 720 { [0.2126, 0.0722] } else { [0.299, 0.114] }
}

/// Three samples around pixel `2x`, on which the colour sample lies.
fn left_mean(at: impl Fn(usize) -> f32, x: usize) -> f32 {
    (at((2 * x).saturating_sub(1)) + 2.0 * at(2 * x) + at(2 * x + 1)) / 4.0
}

/// The colour differences of row `y`, one for each pixel, linear between samples.
fn spread_row(plane: &[u8], (w, h): (usize, usize), sampling: Sampling, y: usize, out: &mut [f32]) {
    let sample = |y: usize, x: usize| f32::from(plane[y.min(h - 1) * w + x.min(w - 1)]);
    let vertical = matches!(sampling, Sampling::S420Left | Sampling::S420Centre);
    let (near, far) = match vertical {
        true => (y / 2, if y.is_multiple_of(2) { (y / 2).saturating_sub(1) } else { y / 2 + 1 }),
        false => (y, y),
    };
    let column = |x: usize| 0.75 * sample(near, x) + 0.25 * sample(far, x);
    for (x, value) in out.iter_mut().enumerate() {
        *value = match sampling {
            Sampling::Mono => 0.0,
            Sampling::S444 => sample(y, x),
            Sampling::S422 | Sampling::S420Left if x.is_multiple_of(2) => column(x / 2),
            Sampling::S422 | Sampling::S420Left => (column(x / 2) + column(x / 2 + 1)) / 2.0,
            Sampling::S420Centre => {
                let beside = if x.is_multiple_of(2) { (x / 2).saturating_sub(1) } else { x / 2 + 1 };
                0.75 * column(x / 2) + 0.25 * column(beside)
            }
        };
    }
}

/// The next line without its end; `None` at the end of the stream.
fn line(input: &mut impl BufRead) -> Result<Option<String>, ImagingError> {
    let mut bytes = Vec::new();
    io::Read::take(&mut *input, LONGEST_LINE).read_until(b'\n', &mut bytes).map_err(broken)?;
    match bytes.pop() {
        None => Ok(None),
        Some(b'\n') => String::from_utf8(bytes).map(Some).map_err(|_| damaged("its header is not plain ASCII")),
        Some(_) => Err(damaged("it ends within a header, or the header is too long")),
    }
}

fn damaged(reason: impl Into<String>) -> ImagingError {
    ImagingError::damaged("frame stream", reason.into())
}

fn unsupported(what: String, hint: &str) -> ImagingError {
    ImagingError::Unsupported { format: "YUV4MPEG2", reason: format!("{what}; {hint}") }
}

fn broken(error: io::Error) -> ImagingError {
    damaged(format!("it cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<VideoHeader, ImagingError> {
        VideoHeader::read(&mut text.as_bytes(), &DecodeLimits::default())
    }

    #[test]
    fn headers_are_read_and_handed_on() {
        let header = read("YUV4MPEG2 W5 H3 F30000:1001 Ip A1:1 C420mpeg2 XYSCSS=420MPEG2 XCOLORRANGE=FULL\n").unwrap();
        assert_eq!((header.width, header.height, header.frame_bytes()), (5, 3, 15 + 2 * 6));
        let mut out = Vec::new();
        header.resized(10, 6).write(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "YUV4MPEG2 W10 H6 F30000:1001 A1:1 XCOLORRANGE=FULL Ip C420mpeg2\n");
        assert_eq!(read(&text).unwrap(), header.resized(10, 6));
    }

    #[test]
    fn what_is_none_or_too_much_is_refused() {
        for (text, wanted) in [
            ("", "empty"),
            ("RIFF\n", "YUV4MPEG2"),
            ("YUV4MPEG2 W4 H4", "ends within"),
            ("YUV4MPEG2 W4 H0\n", "no pixels"),
            ("YUV4MPEG2 Wx H4\n", "side"),
            ("YUV4MPEG2 W70000 H4\n", "too large"),
            ("YUV4MPEG2 W4 H4 C420p10\n", "420p10"),
            ("YUV4MPEG2 W4 H4 It\n", "deinterlace"),
            ("YUV4MPEG2 W4 H4 é\n", "ASCII"),
        ] {
            let said = read(text).map_err(|e| e.to_string()).unwrap_err();
            assert!(said.contains(wanted), "{text:?}: {said}");
        }
        let long = format!("YUV4MPEG2 W4 H4 X{}\n", "a".repeat(2000));
        assert!(read(&long).is_err());
    }

    #[test]
    fn frames_end_where_they_should() {
        let header = read("YUV4MPEG2 W2 H2 C444\n").unwrap();
        let mut bytes = b"FRAME\n0123456789abFRAME Ip\n0123456789abFRAME\n01".as_slice();
        let mut frame = Vec::new();
        assert!(header.read_frame(&mut bytes, &mut frame).unwrap());
        assert_eq!(frame, b"0123456789ab");
        assert!(header.read_frame(&mut bytes, &mut frame).unwrap());
        assert!(header.read_frame(&mut bytes, &mut frame).unwrap_err().to_string().contains("within a frame"));
        let rgb = VideoHeader::rgb24(2, 1, &DecodeLimits::default()).unwrap();
        let mut bytes = b"abcdef".as_slice();
        assert!(rgb.read_frame(&mut bytes, &mut frame).unwrap());
        assert!(!rgb.read_frame(&mut bytes, &mut frame).unwrap());
    }

    #[test]
    fn colours_come_back_in_every_layout() {
        for sampling in ["mono", "444", "422", "420mpeg2", "420jpeg"] {
            for range in ["", " XCOLORRANGE=FULL"] {
                for height in [5, 720] {
                    let header = read(&format!("YUV4MPEG2 W7 H{height} C{sampling}{range}\n")).unwrap();
                    // Flat colours survive every sampling; grey stays grey.
                    let mut frame = vec![128; header.frame_bytes()];
                    let pixels = 7 * height as usize;
                    frame[..pixels].fill(90);
                    if sampling != "mono" {
                        frame[pixels..].fill(110);
                    }
                    let values = header.to_unit_f32(&frame);
                    let mut back = Vec::new();
                    header.from_unit_f32(&values, height, &mut back).unwrap();
                    assert_eq!(back, frame, "{sampling}{range} {height}");
                }
            }
        }
        // White, and the red of BT.601: Y = 81, Cb = 90, Cr = 240 (limited range).
        let header = read("YUV4MPEG2 W1 H1 C444\n").unwrap();
        let near = |frame: &[u8], rgb: [f32; 3]| {
            let values = header.to_unit_f32(frame);
            assert!(values.iter().zip(rgb).all(|(a, b)| (a - b).abs() < 0.01), "{values:?}");
        };
        near(&[235, 128, 128], [1.0; 3]);
        near(&[81, 90, 240], [1.0, 0.0, 0.0]);
    }

    #[test]
    fn a_colour_ramp_keeps_its_place() {
        // A linear ramp is the same before and after where samples are placed consistently.
        for sampling in ["422", "420mpeg2", "420jpeg"] {
            let header = read(&format!("YUV4MPEG2 W32 H8 C{sampling}\n")).unwrap();
            let values: Vec<f32> = (0..8)
                .flat_map(|_| (0..32).flat_map(|x| [0.2 + x as f32 * 0.01, 0.5, 0.8 - x as f32 * 0.01]))
                .collect();
            let mut frame = Vec::new();
            header.from_unit_f32(&values, 8, &mut frame).unwrap();
            let back = header.to_unit_f32(&frame);
            let worst = (2..30).map(|x| (back[(3 * 32 + x) * 3] - values[(3 * 32 + x) * 3]).abs()).fold(0.0, f32::max);
            // Half a step of each of three values, times the widest weight.
            assert!(worst < 0.008, "{sampling}: {worst}");
        }
    }
}
